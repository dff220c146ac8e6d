// Rotation replaces identities under load, and counts what fails: the SVIDs of a
// client and a server 100 times, and then the root of a real Consul's CA.
//
//	go run ./rotation [-rotations 100] [-callers 16] [-every 50ms] [-root]
//
// Callers call all the time, over gRPC with mutual TLS on loopback. A second client
// dials anew for each rotation, so that each pair of old and new SVIDs has a
// handshake. The calls are not idempotent: none is made twice that may have been
// sent. Then, with -root, two members of Consul's cloud call each other until both
// have certificates of the new root. The last line is JSON; failed counts both.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
)

func main() {
	o := options{}
	flag.IntVar(&o.rotations, "rotations", 100, "rotations of the SVIDs")
	flag.IntVar(&o.callers, "callers", 16, "callers")
	flag.DurationVar(&o.every, "every", 50*time.Millisecond, "time between two rotations")
	flag.BoolVar(&o.root, "root", true, "rotate the root of Consul's CA too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "rotation:", err)
		os.Exit(1)
	}
}

type options struct {
	rotations, callers int
	every              time.Duration
	root               bool
}

// result is the last line. Without a rotation of the root its fields are left out.
type result struct {
	Bench      string  `json:"bench"`
	Rotations  int     `json:"rotations"`
	Failed     int64   `json:"failed"`
	Calls      int64   `json:"calls"`
	Handshakes int64   `json:"handshakes"`
	RootCalls  int64   `json:"root_calls,omitempty"`
	RootTook   float64 `json:"root_ms,omitempty"`
}

func run(ctx context.Context, o options) error {
	if o.rotations < 1 || o.callers < 1 || o.every < 0 {
		return errors.New("-rotations and -callers must be at least 1, -every not negative")
	}
	fmt.Printf("%d callers, %s, %d cores\n", o.callers, runtime.Version(), runtime.NumCPU())
	r := result{Bench: "rotation", Rotations: o.rotations}
	l, handshakes, err := rotateSVIDs(ctx, o)
	if err != nil {
		return err
	}
	r.Calls, r.Failed, r.Handshakes = l.calls.Load(), l.failed.Load(), handshakes
	fmt.Printf("%d rotations of both SVIDs: %d calls, %d new connections, %d failed%s\n", o.rotations, r.Calls, handshakes, r.Failed, l.why())
	if o.root {
		l, took, err := rotateRoot(ctx, o.callers)
		if err != nil {
			return err
		}
		r.RootCalls, r.RootTook = l.calls.Load(), float64(took.Milliseconds())
		r.Failed += l.failed.Load()
		fmt.Printf("new root of Consul's CA, used by both sides after %v: %d calls, %d failed%s\n", took.Round(time.Millisecond), r.RootCalls, l.failed.Load(), l.why())
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// load is callers that call all the time.
type load struct {
	calls, failed atomic.Int64
	first         atomic.Pointer[error]
	wg            sync.WaitGroup
	stop          context.CancelFunc
}

func startLoad(ctx context.Context, conn *grpc.ClientConn, callers int) *load {
	l := &load{}
	ctx, l.stop = context.WithCancel(ctx)
	client := grpc_testing.NewTestServiceClient(conn)
	for range callers {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				l.call(ctx, client)
			}
		})
	}
	return l
}

// call makes one. A call that the end of the load cut is not counted.
func (l *load) call(ctx context.Context, client grpc_testing.TestServiceClient) {
	_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	if ctx.Err() != nil {
		return
	}
	l.calls.Add(1)
	if err != nil {
		l.failed.Add(1)
		l.first.CompareAndSwap(nil, &err)
	}
}

// end waits for the callers.
func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

func (l *load) why() string {
	if err := l.first.Load(); err != nil {
		return fmt.Sprintf("; the first: %v", *err)
	}
	return ""
}

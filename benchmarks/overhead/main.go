// Overhead compares a 1 KiB echo through mesh.Dial and mesh.NewGRPCServer with bare
// grpc-go with mutual TLS, and with what else could be used: a stack made by hand,
// Kratos, go-zero, grpc-go's xDS, and two sidecars. Then streams, and HTTP/1.1 and
// HTTP/2 against net/http.
//
//	go run ./overhead [-callers 1,32] [-rounds 25] [-slice 300ms] [-quick] [-profile DIR]
//	                  [-peers all|none|handmade,haproxy,…] [-loads unary,streams,http] [-rate 0]
//
// Bare has grpc-go's defaults; "bare, tuned" has those settings of weft that a user of
// grpc-go could make, so that it tells what the mesh's own work costs. "weft, defaults"
// has what is on without a setting, weft has everything on, "weft, no ballast" all but
// the heap ballast, which makes the collector run less often and which "net/http,
// ballast" has too. "alone" is bare in a program that does not link the mesh. The server of
// net/http has the two timeouts that weft's has, as should any that is in use.
//
// Each contender has a server process and a client process of its own, which take
// turns in short slices, so that a noisy machine slows all; a ratio is the median
// over the rounds of calls per second against bare, or against net/http. Allocations
// and bytes are those of both processes and of sidecars written in Go; memory and "CPU
// of all" are those of all. "private" is what of the memory is not pages of the
// program, which the processes of one program share. With -rate calls begin at a
// fixed rate, and latency counts from when a call was due. Calls have a deadline.
//
// The peers are programs of the module benchmarks/peers, built when they are wanted.
// One that cannot be had is reported as not run, with the reason. The last line is
// JSON; its figures are of the last number of callers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
)

func main() {
	o := options{}
	callers := flag.String("callers", "1,32", "numbers of concurrent callers; the last one is reported")
	flag.IntVar(&o.rounds, "rounds", 25, "rounds; each has one slice of each contender")
	flag.DurationVar(&o.slice, "slice", 300*time.Millisecond, "length of a slice")
	flag.Float64Var(&o.rate, "rate", 0, "calls per second that begin whatever becomes of those before; 0: as fast as they are answered")
	peers := flag.String("peers", "all", "which peers; all, none, or names")
	loads := flag.String("loads", "unary,streams,http", "which loads")
	quick := flag.Bool("quick", false, "5 rounds of 200ms")
	profiles := flag.String("profile", "", "folder for CPU and allocation profiles of each process (GODEBUG=memprofilerate=1 for exact counts)")
	flag.DurationVar(&o.build, "build", 10*time.Minute, "time to build the peers in; one that is not built by then is not run")
	was, err := contest.Worker(contenders()...)
	if !was {
		flag.Parse()
		if *quick {
			o.rounds, o.slice = 5, 200*time.Millisecond
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if *profiles != "" {
			err = os.Setenv(contest.EnvProfile, *profiles) // the processes inherit it
		}
		if err = errors.Join(err, o.parse(*callers, *peers, *loads)); err == nil {
			err = o.compare(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

type options struct {
	plan
	callers []int
	peers   []string
	loads   map[string]bool
	build   time.Duration
}

func (o *options) parse(callers, peers, loads string) error {
	for _, field := range strings.Split(callers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("-callers: %q is not a number from 1 to 10000", field)
		}
		o.callers = append(o.callers, n)
	}
	if o.rounds < 1 || o.slice < 10*time.Millisecond || !(o.rate >= 0) || o.rate > 1e6 {
		return errors.New("-rounds must be at least 1, -slice at least 10ms, -rate from 0 to 1000000")
	}
	known := peerNames()
	switch peers {
	case "all":
		o.peers = known
	case "none", "":
	default:
		for _, name := range strings.Split(peers, ",") {
			name = strings.TrimSpace(name)
			if !contains(known, name) {
				return fmt.Errorf("-peers: there is no %q; there are %s", name, strings.Join(known, ", "))
			}
			o.peers = append(o.peers, name)
		}
	}
	o.loads = map[string]bool{}
	for _, name := range strings.Split(loads, ",") {
		name = strings.TrimSpace(name)
		if !contains([]string{"unary", "streams", "http"}, name) {
			return fmt.Errorf("-loads: there is no %q; there are unary, streams, http", name)
		}
		o.loads[name] = true
	}
	return nil
}

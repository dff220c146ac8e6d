package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
)

// outcome is what the calls of one kind came to, over any number of runs.
type outcome struct {
	took       []time.Duration // an error took the whole deadline
	errors     int
	early      int   // errors of the time before
	firstError error // nil: none
	slow, all  int   // calls that reached the slow replica, and any
}

func (o *outcome) add(p outcome) {
	o.took = append(o.took, p.took...)
	o.errors, o.early = o.errors+p.errors, o.early+p.early
	o.slow, o.all = o.slow+p.slow, o.all+p.all
	if o.firstError == nil {
		o.firstError = p.firstError
	}
}

// quantile sorts.
func (o *outcome) quantile(q float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	slices.Sort(o.took)
	return o.took[min(int(q*float64(len(o.took))), len(o.took)-1)]
}

func (o *outcome) slowShare() float64 { return float64(o.slow) / float64(max(o.all, 1)) }

// simulate runs a scene with one kind and one seed in virtual time.
func simulate(t *testing.T, s scene, k kind, seed uint64) (o outcome, err error) {
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var f *fleet
		f, err = newFleet(ctx, s, seed, k.serve)
		defer f.close()
		if err != nil {
			return
		}
		time.Sleep(time.Second) // what was announced is known
		var conns []*grpc.ClientConn
		for range s.clients {
			conn, e := k.client(ctx, f)
			if e != nil {
				err = e
				return
			}
			f.closers = append(f.closers, func() { _ = conn.Close() })
			conn.Connect()
			conns = append(conns, conn)
		}
		time.Sleep(10 * time.Second) // all are connected
		o = s.load(ctx, f, conns, seed)
		time.Sleep(2 * deadline) // handlers of calls that were given up end
	})
	if err == nil && o.all == 0 {
		err = fmt.Errorf("no call came through: %w", o.firstError)
	}
	return o, err
}

// load lets each client make calls at random times, whatever becomes of those
// before.
func (s scene) load(ctx context.Context, f *fleet, conns []*grpc.ClientConn, seed uint64) (o outcome) {
	begin := time.Now()
	rate := s.share * float64(s.replicas) / serviceTime.Seconds() / float64(len(conns))
	var mu sync.Mutex
	var slowBefore, allBefore int
	time.AfterFunc(s.warm, func() { slowBefore, allBefore = f.calls() })
	var callers, calls sync.WaitGroup
	for i, conn := range conns {
		callers.Go(func() {
			to, rnd := grpc_testing.NewTestServiceClient(conn), rand.New(rand.NewPCG(seed, 1<<32+uint64(i)))
			for due := begin; ; {
				due = due.Add(time.Duration(rnd.ExpFloat64() / rate * float64(time.Second)))
				if due.Sub(begin) >= s.warm+s.span {
					return
				}
				time.Sleep(time.Until(due))
				calls.Go(func() {
					ctx, cancel := context.WithDeadline(ctx, due.Add(deadline))
					defer cancel()
					_, err := to.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
					took := time.Since(due)
					mu.Lock()
					defer mu.Unlock()
					o.note(due.Sub(begin) < s.warm, took, err)
				})
			}
		})
	}
	callers.Wait()
	calls.Wait()
	slow, all := f.calls()
	o.slow, o.all = slow-slowBefore, all-allBefore
	return o
}

func (o *outcome) note(early bool, took time.Duration, err error) {
	if err != nil {
		took = deadline
		if o.firstError == nil {
			o.firstError = err
		}
	}
	switch {
	case early && err != nil:
		o.early++
	case early:
	case err != nil:
		o.errors++
		fallthrough
	default:
		o.took = append(o.took, took)
	}
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
)

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

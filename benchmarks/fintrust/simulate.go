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

	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// outcome is what the payments of one run came to.
type outcome struct {
	payments  int
	mean, p99 time.Duration // a payment that failed took its deadline
	good      float64       // the part that was done in time
}

// add adds another run; of the p99 the worst remains.
func (o *outcome) add(p outcome) {
	n := o.payments + p.payments
	if n == 0 {
		return
	}
	share := float64(p.payments) / float64(n)
	o.mean = time.Duration((1-share)*float64(o.mean) + share*float64(p.mean))
	o.good = (1-share)*o.good + share*p.good
	o.p99, o.payments = max(o.p99, p.p99), n
}

// caller is one client.
type caller struct {
	cloud string
	to    grpc_testing.TestServiceClient
}

// simulate runs a scene with one kind in virtual time.
func simulate(t *testing.T, s scene, k kind, slower float64) (o outcome, err error) {
	var first error
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var f *fleet
		f, err = newFleet(ctx, s, k, slower)
		defer f.close()
		if err != nil {
			return
		}
		time.Sleep(time.Second) // what was announced is known
		var callers []caller
		for _, cloud := range clouds() {
			for range s.clients {
				conn, e := k.client(ctx, f, cloud)
				if e != nil {
					err = e
					return
				}
				f.closers = append(f.closers, func() { _ = conn.Close() })
				conn.Connect()
				callers = append(callers, caller{cloud, grpc_testing.NewTestServiceClient(conn)})
			}
		}
		time.Sleep(10 * time.Second) // all are connected
		o, first = s.load(ctx, callers)
		time.Sleep(10 * deadline) // handlers of calls that were given up end
	})
	if err == nil && o.good == 0 && first != nil {
		err = fmt.Errorf("no payment was good: %w", first)
	}
	return o, err
}

// load lets each caller begin payments at random times, whatever becomes of those
// before. The first error is returned beside.
func (s scene) load(ctx context.Context, callers []caller) (o outcome, first error) {
	begin := time.Now()
	all := s.share * float64(2*s.replicas) / serviceTime.Seconds() / float64(s.checks) // payments per second
	rate := all / float64(len(callers))
	var mu sync.Mutex
	var took []time.Duration
	var sum time.Duration
	good := 0
	var making, payments sync.WaitGroup
	for i, c := range callers {
		making.Go(func() {
			rnd := rand.New(rand.NewPCG(s.seed, 1<<32+uint64(i)))
			for due := begin; ; {
				due = due.Add(time.Duration(rnd.ExpFloat64() / rate * float64(time.Second)))
				if due.Sub(begin) >= s.warm+s.span {
					return
				}
				time.Sleep(time.Until(due))
				payments.Go(func() {
					err := c.pay(ctx, s.checks, due)
					t := min(time.Since(due), deadline)
					if due.Sub(begin) < s.warm {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						good++
					} else {
						t = deadline
						if first == nil {
							first = err
						}
					}
					took, sum = append(took, t), sum+t
				})
			}
		})
	}
	making.Wait()
	payments.Wait()
	if len(took) == 0 {
		return o, first
	}
	slices.Sort(took)
	n := len(took)
	return outcome{n, sum / time.Duration(n), took[n*99/100], float64(good) / float64(n)}, first
}

// pay makes the checks, one after the other.
func (c caller) pay(ctx context.Context, checks int, due time.Time) error {
	ctx, cancel := context.WithDeadline(metadata.AppendToOutgoingContext(ctx, fromCloud, c.cloud), due.Add(deadline))
	defer cancel()
	for range checks {
		if _, err := c.to.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
			return err
		}
	}
	return nil
}

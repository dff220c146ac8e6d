package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resilience"
)

// classes are the priorities by rank: the first is shed last.
var classes = [resilience.Priorities]resilience.Priority{
	resilience.CriticalPlus, resilience.Critical, resilience.SheddablePlus, resilience.Sheddable,
}

// outcome is what the calls of one load came to.
type outcome struct {
	offered, good [resilience.Priorities]int // good: answered in time
	top           []time.Duration            // how long the good ones of the top class took
	refused       int                        // by the replicas, or by the caller for their sake
	span          time.Duration
}

// goodput is good answers per second.
func (o *outcome) goodput() float64 {
	sum := 0
	for _, n := range o.good {
		sum += n
	}
	return float64(sum) / o.span.Seconds()
}

// success is the good share of a class.
func (o *outcome) success(rank int) float64 {
	return float64(o.good[rank]) / float64(max(1, o.offered[rank]))
}

func (o *outcome) topP99() time.Duration {
	if len(o.top) == 0 {
		return 0
	}
	slices.Sort(o.top)
	return o.top[len(o.top)*99/100]
}

// simulate offers a load, in parts of the capacity, to a fleet in virtual time.
func simulate(t *testing.T, s scene, k kind, load float64) (o outcome, err error) {
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var f *fleet
		f, err = newFleet(ctx, k, s.seed)
		defer f.close()
		if err == nil {
			o = s.offer(ctx, f, load)
			for f.working.Load() > 0 { // on what nobody waits for any more
				time.Sleep(time.Second)
			}
		}
	})
	return o, err
}

// offer lets each client make calls at random times, whatever becomes of those
// before.
func (s scene) offer(ctx context.Context, f *fleet, load float64) outcome {
	begin, o := time.Now(), outcome{span: s.span}
	var mu sync.Mutex
	var callers, calls sync.WaitGroup
	for i, to := range f.callers {
		callers.Go(func() {
			rnd := rand.New(rand.NewPCG(s.seed, 1<<32+uint64(i)))
			for due := begin; ; {
				due = due.Add(time.Duration(rnd.ExpFloat64() / (load * capacity / clients) * float64(time.Second)))
				if due.Sub(begin) >= s.warm+s.span {
					return
				}
				rank, early := rnd.IntN(len(classes)), due.Sub(begin) < s.warm
				time.Sleep(time.Until(due))
				calls.Go(func() {
					err := call(ctx, to, classes[rank], due)
					took := time.Since(due)
					mu.Lock()
					defer mu.Unlock()
					if !early {
						o.note(rank, took, err)
					}
				})
			}
		})
	}
	callers.Wait()
	calls.Wait()
	return o
}

func call(ctx context.Context, to grpc_testing.TestServiceClient, p resilience.Priority, due time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, due.Add(deadline))
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, resilience.PriorityKey, p.String())
	_, err := to.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	return err
}

func (o *outcome) note(rank int, took time.Duration, err error) {
	o.offered[rank]++
	switch {
	case status.Code(err) == codes.ResourceExhausted:
		o.refused++
	case err == nil:
		o.good[rank]++
		if rank == 0 {
			o.top = append(o.top, took)
		}
	}
}

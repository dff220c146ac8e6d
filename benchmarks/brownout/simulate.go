package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"
)

const (
	deadline = time.Second // of a call, from when it is due
	window   = 250 * time.Millisecond
)

// outcome is what one run came to.
type outcome struct {
	calls, leaf           int // during the fault
	amplification         float64
	before, during, after float64 // share of good calls
	recovered             time.Duration
}

// simulate runs a scene in virtual time.
func simulate(t *testing.T, s scene, join joiner) (o outcome, err error) {
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var c *chain
		var first grpc_testing.TestServiceClient
		c, first, err = newChain(ctx, join, s.seed)
		defer c.close()
		if err != nil {
			return
		}
		if _, err = first.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
			err = fmt.Errorf("first call: %w", err)
			return
		}
		o = s.load(ctx, c, first)
		time.Sleep(deadline) // handlers of calls that were given up end
	})
	return o, err
}

// load makes calls at a fixed rate, whatever becomes of those before.
func (s scene) load(ctx context.Context, c *chain, first grpc_testing.TestServiceClient) outcome {
	begin := time.Now()
	time.AfterFunc(s.warm, func() { c.fail.Store(uint64(s.fail * 1e6)) })
	time.AfterFunc(s.warm+s.fault, func() { c.fail.Store(0) })
	n := int(s.rate * (s.warm + s.fault + s.after).Seconds())
	good := make([]bool, n)
	var wg sync.WaitGroup
	for i := range n {
		due := begin.Add(s.due(i))
		time.Sleep(time.Until(due))
		wg.Go(func() {
			ctx, cancel := context.WithDeadline(ctx, due.Add(deadline))
			defer cancel()
			_, err := first.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			good[i] = err == nil
		})
	}
	wg.Wait()
	o := s.judge(good)
	shift := begin.Sub(c.begin)
	for _, at := range c.arrived {
		if at -= shift; at >= s.warm && at < s.warm+s.fault {
			o.leaf++
		}
	}
	o.amplification = float64(o.leaf) / float64(o.calls)
	return o
}

// due is when a call begins.
func (s scene) due(i int) time.Duration {
	return time.Duration(float64(i) / s.rate * float64(time.Second))
}

// judge looks at shares of good calls, by when they were due.
func (s scene) judge(good []bool) (o outcome) {
	var all, ok [3]int
	end := s.warm + s.fault
	windows := map[int][2]int{} // after the fault
	for i, g := range good {
		part, due := 0, s.due(i)
		switch {
		case due >= end:
			part = 2
			w := windows[int((due-end)/window)]
			w[0]++
			if g {
				w[1]++
			}
			windows[int((due-end)/window)] = w
		case due >= s.warm:
			part = 1
		}
		all[part]++
		if g {
			ok[part]++
		}
	}
	for w, n := range windows {
		if 100*n[1] < 95*n[0] {
			o.recovered = max(o.recovered, time.Duration(w+1)*window)
		}
	}
	share := func(i int) float64 { return float64(ok[i]) / float64(all[i]) }
	o.calls, o.before, o.during, o.after = all[1], share(0), share(1), share(2)
	return o
}

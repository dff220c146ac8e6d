package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

const deadline = time.Second // of a call, from when it was due

// call is one call of the load.
type call struct {
	due, took time.Duration // since the beginning; since due
	code      codes.Code
	cloud     string // that answered
	attempts  atomic.Int32
	lost      atomic.Bool // an attempt was sent to the cloud that fails
}

// openLoop makes calls at a fixed rate, whatever becomes of those before: a call
// that is late by our own fault has less time, and counts from when it was due.
func openLoop(ctx context.Context, conn *grpc.ClientConn, rate float64, length time.Duration, begin time.Time) []call {
	client := grpc_testing.NewTestServiceClient(conn)
	calls := make([]call, int(rate*length.Seconds()))
	var wg sync.WaitGroup
	for i := range calls {
		c := &calls[i]
		c.due = time.Duration(float64(i) / rate * float64(time.Second))
		due := begin.Add(c.due)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		wg.Go(func() {
			ctx, cancel := context.WithDeadline(context.WithValue(ctx, callKey{}, c), due.Add(deadline))
			defer cancel()
			reply, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			c.took, c.code, c.cloud = time.Since(due), status.Code(err), reply.GetUsername()
		})
	}
	wg.Wait()
	return calls
}

// row is what one scene came to, for one kind of client.
type row struct {
	calls, failed int
	success       float64
	codes         map[codes.Code]int
	answered      time.Duration // until 95 % of calls are answered by other clouds
	moved         time.Duration // until 95 % of calls are, and none of their attempts is sent to the lost cloud
	p99           time.Duration // of all calls from the fault on
	lost          int           // calls with an attempt that was sent to the lost cloud
	amplification float64       // attempts sent per call
}

// window is how finely time is looked at, and steady how long 95 % must last.
const (
	window = 50 * time.Millisecond
	steady = time.Second
)

// healthy is an error if calls failed before the fault: then the rest shows nothing.
func healthy(calls []call, at time.Duration) error {
	for i := range calls {
		if c := &calls[i]; c.due+c.took < at && c.code != codes.OK {
			return fmt.Errorf("a call failed with %v before anything was lost", c.code)
		}
	}
	return nil
}

// judge looks at the calls that were under way when the fault came, or began after.
func judge(calls []call, at, length time.Duration, lost string) row {
	r := row{codes: map[codes.Code]int{}}
	n := int((length - at) / window)
	all, answered, moved := make([]int, n), make([]int, n), make([]int, n)
	var took []time.Duration
	sent := 0
	for i := range calls {
		c := &calls[i]
		if c.due+c.took < at {
			continue
		}
		r.calls++
		took = append(took, c.took)
		sent += int(c.attempts.Load())
		if c.code != codes.OK {
			r.failed++
			r.codes[c.code]++
		}
		w := int((c.due - at) / window)
		if c.due < at || w >= n {
			continue
		}
		all[w]++
		if c.lost.Load() {
			r.lost++
		}
		if c.code == codes.OK && c.cloud != lost {
			answered[w]++
			if !c.lost.Load() {
				moved[w]++
			}
		}
	}
	if r.calls == 0 {
		return r
	}
	r.success = 1 - float64(r.failed)/float64(r.calls)
	r.amplification = float64(sent) / float64(r.calls)
	r.answered, r.moved = since(answered, all), since(moved, all)
	slices.Sort(took)
	r.p99 = took[len(took)*99/100]
	return r
}

// since is the end of the first window from which on at least 95 % of the calls
// are good in every window for a while; all the time, if there is none.
func since(good, all []int) time.Duration {
	need := int(steady / window)
	run := 0
	for i := range all {
		if 100*good[i] < 95*all[i] {
			run = 0
			continue
		}
		if run++; run == need {
			return time.Duration(i-need+2) * window
		}
	}
	return time.Duration(len(all)) * window
}

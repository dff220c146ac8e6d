package consul

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// A watch may follow this many changes in a row as they come, and this many
	// per second for ever.
	paceBurst  = 128
	paceRate   = 4.0
	paceMinGap = 10 * time.Millisecond
	// paceCost bounds the share of time that a watch of a huge list spends on it.
	paceCost = 4

	backoffBase = 100 * time.Millisecond
	backoffMax  = 5 * time.Second
)

// pace is a token bucket with a minimum gap: the first change after a calm goes
// out at once, a burst is coalesced, and a loop that Consul drives is bounded.
type pace struct {
	tokens float64
	last   time.Time     // when the last query began
	spent  time.Duration // what its answer cost us
}

// delay is how long to wait before the next query, which it counts.
func (p *pace) delay(now time.Time) time.Duration {
	if p.last.IsZero() {
		p.tokens = paceBurst
	} else {
		p.tokens = min(paceBurst, p.tokens+paceRate*now.Sub(p.last).Seconds())
	}
	gap := max(paceMinGap, paceCost*p.spent)
	d := max(0, gap-now.Sub(p.last))
	p.tokens--
	if p.tokens < 0 {
		d = max(d, time.Duration(-p.tokens/paceRate*float64(time.Second)))
	}
	p.last = now
	return d
}

// jitter is a full-jitter delay after n failures (n from 1): uniform between
// zero and an exponential bound.
func jitter(n int) time.Duration {
	bound := backoffMax
	if n < 10 {
		bound = min(backoffMax, backoffBase<<n)
	}
	return time.Duration(rand.Int64N(int64(bound)))
}

// sleep waits for d, and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// slots bounds the connections to a plain HTTP agent. Reads that answer at once
// have slots of their own, so that a new watch is not stuck behind blocked ones.
type slots struct {
	quick, blocked chan struct{}
	watches        atomic.Int64
	multiplexed    atomic.Bool // HTTP/2: all requests share a connection
}

func newSlots(conns int) *slots {
	quick := max(1, conns/8)
	const trust = 1 // the query for the CA roots needs no slot
	return &slots{quick: make(chan struct{}, quick), blocked: make(chan struct{}, conns-quick-trust)}
}

// saw learns from an answer whether requests share connections.
func (s *slots) saw(protoMajor int) {
	if protoMajor >= 2 && !s.multiplexed.Load() {
		s.multiplexed.Store(true)
	}
}

// enter waits in line for a slot; leave gives it back.
func (s *slots) enter(ctx context.Context, blocking bool) (leave func(), err error) {
	if s.multiplexed.Load() {
		return func() {}, nil
	}
	c := s.quick
	if blocking {
		c = s.blocked
	}
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wait shortens a blocking query when watches have to take turns.
func (s *slots) wait(full time.Duration) time.Duration {
	n := int(s.watches.Load())
	switch {
	case s.multiplexed.Load() || n <= cap(s.blocked)/2:
		return full
	case n <= cap(s.blocked):
		return min(full, 10*time.Second)
	}
	return min(full, 2*time.Second)
}

package resilience

import (
	"math/rand/v2"
	"time"
)

// BreakerConfig says when a Breaker opens and how it closes. The zero value is a
// safe default.
type BreakerConfig struct {
	// Window is the time over which calls are counted. 0: 10 s (Envoy outlier
	// interval).
	Window time.Duration
	// MinCalls is how many calls a window must hold before it is judged. 0: 20.
	MinCalls int
	// FailureRatio is the share of failed calls that opens, at most 1. 0: 0.5.
	FailureRatio float64
	// SlowCall is how long a call may take and not be slow; streams are never slow.
	// 0: calls are not timed and none is slow.
	SlowCall time.Duration
	// SlowRatio is the share of slow calls that opens, at most 1. 0: 0.9.
	SlowRatio float64
	// OpenFor is how long the Breaker stays open the first time. Each time that it
	// opens again soon doubles it; 20 % of jitter keeps clients apart. 0: 5 s.
	OpenFor time.Duration
	// MaxOpenFor bounds OpenFor's growth. 0: 30 s, or OpenFor if that is more.
	MaxOpenFor time.Duration
	// Probes is how many calls at a time may try a half-open Breaker, and how many
	// in a row must succeed to close it. 0: 3.
	Probes int
	// ProbeTimeout is when a probe that has not ended gives its place to another. A
	// stream that lived that long was a success. 0: 10 s.
	ProbeTimeout time.Duration
	// OnChange is told of each change of state, without a lock held, so it may call
	// the Breaker. Changes may arrive out of order: compare their At. nil: nobody.
	OnChange func(BreakerChange)
	// Rand gives the jitter, 0 to 1. nil: math/rand/v2.
	Rand func() float64
}

func (c BreakerConfig) withDefaults() (BreakerConfig, error) {
	var ck checks
	ck.span("BreakerConfig.Window", &c.Window, 100*time.Millisecond, 10*time.Second)
	ck.count("BreakerConfig.MinCalls", &c.MinCalls, 1, 20)
	ck.ratio("BreakerConfig.FailureRatio", &c.FailureRatio, 0.5)
	ck.span("BreakerConfig.SlowCall", &c.SlowCall, 0, 0)
	ck.ratio("BreakerConfig.SlowRatio", &c.SlowRatio, 0.9)
	ck.span("BreakerConfig.OpenFor", &c.OpenFor, time.Millisecond, 5*time.Second)
	ck.span("BreakerConfig.MaxOpenFor", &c.MaxOpenFor, c.OpenFor, max(30*time.Second, c.OpenFor))
	ck.count("BreakerConfig.Probes", &c.Probes, 1, 3)
	ck.span("BreakerConfig.ProbeTimeout", &c.ProbeTimeout, time.Millisecond, 10*time.Second)
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return c, ck.err
}

// BreakerState is what a Breaker does with calls.
type BreakerState uint8

const (
	// BreakerClosed lets all calls through.
	BreakerClosed BreakerState = iota
	// BreakerOpen lets none through.
	BreakerOpen
	// BreakerHalfOpen lets a few through, to see whether they succeed.
	BreakerHalfOpen
)

// String is "closed", "open" or "half-open".
func (s BreakerState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerOpen:
		return "open"
	}
	return "half-open"
}

// BreakerChange is one change of a Breaker's state.
type BreakerChange struct {
	// Service and Cloud name the Breaker.
	Service, Cloud string
	// From and To are the states before and after.
	From, To BreakerState
	// At is when it changed.
	At time.Time
	// Until is when an open Breaker lets the first probe through; zero if To is not
	// BreakerOpen.
	Until time.Time
}

// grown is the n-th of a row of doubling times (n from 1) with 20 % of jitter.
func grown(base, most time.Duration, n int, rnd float64) time.Duration {
	d := most
	if n < 32 && base <= most>>(n-1) {
		d = base << (n - 1)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rnd))
}

package resilience

import (
	"context"
	"fmt"
	"time"
)

// Defaults of [Retry].
const (
	DefaultAttempts     = 3
	DefaultMinRemaining = 10 * time.Millisecond
	DefaultMaxWait      = 5 * time.Second
	maxAttempts         = 100
)

// Retry says when a call may be made again.
type Retry struct {
	// Attempts is how often a call is made at most, the first time included;
	// zero: 3. One means that nothing is retried.
	Attempts int
	// Backoff is how long to wait in between; zero: up to 25 ms, doubling to 1 s.
	Backoff Backoff
	// AttemptTimeout is the time for one attempt; zero: none but the call's own.
	// It is not set where the call ends sooner anyway. It covers the reading of an
	// HTTP response's body, and in a gRPC stream the time to the first message.
	AttemptTimeout time.Duration
	// MinRemaining is how much of the call's time must be left after the wait for
	// another attempt to be worth it; zero: 10 ms.
	MinRemaining time.Duration
	// MaxWait is the longest wait that a server may ask for. The call ends when it
	// asks for more. Zero: 5 s.
	MaxWait time.Duration
	// When decides whether an outcome calls for another attempt. It is not asked
	// about a success, nor about a server that said not to come back.
	// Nil: [Repeatable].
	When func(in *Info, o Outcome) bool
}

// Repeatable is the default rule of a [Retry]: repeat what certainly was not sent, and what
// failed for the time being (Unavailable, 503) if the call is idempotent. A
// server that refuses load is asked again only if it said when.
func Repeatable(in *Info, o Outcome) bool {
	safe := o.Unsent || in.Idempotent
	switch o.Class {
	case Retryable:
		return safe
	case Throttled:
		return safe && o.RetryAfter > 0
	}
	return o.Class == Failure && o.Unsent
}

// Validate names the field that makes no sense.
func (r Retry) Validate() error {
	switch {
	case r.Attempts < 0 || r.Attempts > maxAttempts:
		return fmt.Errorf("resilience: Retry.Attempts is %d: it must be from 1 to %d, or 0 for %d", r.Attempts, maxAttempts, DefaultAttempts)
	case r.AttemptTimeout < 0:
		return fmt.Errorf("resilience: Retry.AttemptTimeout is %v: it must not be negative", r.AttemptTimeout)
	case r.MinRemaining < 0:
		return fmt.Errorf("resilience: Retry.MinRemaining is %v: it must not be negative", r.MinRemaining)
	case r.MaxWait < 0:
		return fmt.Errorf("resilience: Retry.MaxWait is %v: it must not be negative", r.MaxWait)
	}
	if err := r.Backoff.Validate(); err != nil {
		return fmt.Errorf("resilience: Retry.Backoff: %w", err)
	}
	return nil
}

func (r Retry) withDefaults() Retry {
	if r.Attempts == 0 {
		r.Attempts = DefaultAttempts
	}
	r.Backoff = r.Backoff.withDefaults()
	if r.MinRemaining == 0 {
		r.MinRemaining = DefaultMinRemaining
	}
	if r.MaxWait == 0 {
		r.MaxWait = DefaultMaxWait
	}
	if r.When == nil {
		r.When = Repeatable
	}
	return r
}

// attemptContext is the context of an attempt with less time than the call.
type attemptContext struct {
	context.Context
	call    time.Time // the caller's deadline; zero: none
	hasCall bool
}

type attemptKey struct{}

func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// limit gives an attempt its timeout. An attempt that the call itself ends
// sooner gets the call's context: a timer that cannot fire costs as much as one
// that can.
func (r *Retry) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.AttemptTimeout == 0 {
		return ctx, nil
	}
	end, has := ctx.Deadline()
	if has && time.Until(end) <= r.AttemptTimeout {
		return ctx, nil
	}
	actx, cancel := context.WithTimeout(ctx, r.AttemptTimeout)
	return &attemptContext{Context: actx, call: end, hasCall: has}, cancel
}

// CallDeadline is when the time of the whole call ends, where ctx may be that of
// an attempt which has less.
func CallDeadline(ctx context.Context) (time.Time, bool) {
	if c, ok := ctx.Value(attemptKey{}).(*attemptContext); ok {
		return c.call, c.hasCall
	}
	return ctx.Deadline()
}

package resilience

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// DefaultTimeout is the time for a whole call that has no deadline.
const DefaultTimeout = 30 * time.Second

// NoTimeout says that calls have no deadline but their caller's.
const NoTimeout time.Duration = math.MaxInt64

// LoopConfig is what a [Loop] does. The zero value retries safe calls within a
// Budget of its own.
type LoopConfig struct {
	// Timeout is the time for a whole call, its attempts and waits together; an
	// earlier deadline of the caller wins. It covers the reading of an HTTP
	// response's body. Streams have none. Zero: 30 s; [NoTimeout]: none.
	Timeout time.Duration
	// Retry says when a call is made again; zero: up to 3 attempts of safe calls.
	Retry Retry
	// Hedge says when a call is made twice at the same time; zero: never.
	Hedge Hedge
	// Classify says what attempts count as; nil: what [FromGRPC] and [FromHTTP] say.
	Classify Classifier
	// Budget bounds all repeats of the destination; nil: one of this Loop alone.
	// Give all loops to a destination the same one; see [BudgetStore].
	Budget *Budget
	// OnExhausted is told of each call that was not repeated because the Budget was
	// empty, on the call's goroutine; it must not block or keep in. nil: nobody.
	OnExhausted func(in *Info)
}

// Attempt makes one attempt of a call.
type Attempt interface {
	// Try makes attempt n, counted from 1, and returns soon after ctx ended. With a
	// Hedge two of them run at the same time, so each must have its own reply.
	Try(ctx context.Context, n int) Outcome
}

// Dropper is an [Attempt] that wants to know, before the wait for another one,
// that what came so far is not needed. No attempt runs at that time.
type Dropper interface{ Drop() }

// AttemptFunc is a function as an [Attempt].
type AttemptFunc func(ctx context.Context, n int) Outcome

// Try calls f.
func (f AttemptFunc) Try(ctx context.Context, n int) Outcome { return f(ctx, n) }

// Loop makes calls: the first attempt, and those that repeat it. It knows neither
// transport nor endpoints. All methods may be called at the same time.
//
// What it repeats is decided by [Retry.When], after the server (a wait that it
// asks for, or its request not to come back) and before the Budget. A repeat
// that certainly reaches no server twice ([Outcome.Unsent]) is not taken from the
// Budget: it adds nothing to anyone's load. Only what a server refused because it is
// too slow is, for the others may be as slow.
//
// A call made while serving another one ends the chain of retries: see [Inbound].
type Loop struct {
	timeout time.Duration
	retry   Retry
	hedge   Hedge
	budget  *Budget
	seen    latencies // of calls that may be hedged
	judge   Classifier
	empty   func(*Info) // LoopConfig.OnExhausted
}

// NewLoop makes a Loop. The error names the field that makes no sense.
func NewLoop(cfg LoopConfig) (*Loop, error) {
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("resilience: LoopConfig.Timeout is %v: it must not be negative; NoTimeout is none", cfg.Timeout)
	}
	if err := cfg.Retry.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.Hedge.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	l := &Loop{timeout: cfg.Timeout, retry: cfg.Retry.withDefaults(), hedge: cfg.Hedge.withDefaults(), budget: cfg.Budget, judge: cfg.Classify, empty: cfg.OnExhausted}
	if l.budget == nil {
		var err error
		if l.budget, err = NewBudget(BudgetConfig{}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Stop is why a Loop made no further attempt.
type Stop uint8

// The reasons, in the order in which they are looked at.
const (
	StopDone     Stop = iota // the call needs no further attempt: it succeeded, or it ended with its caller
	StopServer               // the server asked not to come back, or to wait too long
	StopRule                 // the rule forbids to repeat it: it may have been done, or it would fail again
	StopChain                // the call is made for a request that is itself a repeat
	StopAttempts             // all attempts are used up
	StopTime                 // too little of the call's time is left
	StopBudget               // the Budget is empty
)

// String is the reason in one lower-case word.
func (s Stop) String() string {
	names := [...]string{"done", "server", "rule", "chain", "attempts", "time", "budget"}
	if int(s) < len(names) {
		return names[s]
	}
	return "stop"
}

// Result is what became of a call.
type Result struct {
	// Outcome is that of the attempt that counts.
	Outcome Outcome
	// Attempt is the number of that attempt, from 1.
	Attempt int
	// Attempts is how many were made, hedges included.
	Attempts int
	// Hedged means that two attempts ran at the same time.
	Hedged bool
	// Stop is why there was no further attempt.
	Stop Stop

	attempt, call context.CancelFunc
}

// End releases what the attempt that counts still holds: its context ends.
// Call it when its reply was read, the body of an HTTP response included.
func (r *Result) End() {
	if r.attempt != nil {
		r.attempt()
	}
	if r.call != nil {
		r.call()
	}
}

// Do makes a call: in names it, a makes each attempt. End the Result.
// It starts no goroutine, except that a hedge runs on one of its own, which
// ends before Do returns.
func (l *Loop) Do(ctx context.Context, in *Info, a Attempt) Result {
	l.budget.Request()
	var call context.CancelFunc
	if !in.Stream && l.timeout != NoTimeout {
		if end, has := ctx.Deadline(); !has || time.Until(end) > l.timeout {
			ctx, call = context.WithTimeout(ctx, l.timeout)
		}
	}
	from := InboundFrom(ctx)
	made, hedged := 0, false
	for retries := 1; ; retries++ {
		r := l.attempt(ctx, in, a, made)
		made, hedged = r.Attempts, hedged || r.Hedged
		r.Hedged, r.call = hedged, call
		wait, stop := l.next(ctx, in, from, r.Outcome, retries)
		if stop == stopNot {
			if d, ok := a.(Dropper); ok {
				d.Drop()
			}
			if r.attempt != nil {
				r.attempt()
			}
			if sleep(ctx, wait) {
				continue
			}
			stop = StopTime
		}
		r.Stop = stop
		from.note(&r)
		return r
	}
}

// attempt makes one attempt, or two if it is hedged. made is how many were before.
func (l *Loop) attempt(ctx context.Context, in *Info, a Attempt, made int) Result {
	actx, cancel := l.retry.limit(ctx)
	r := Result{Attempt: made + 1, Attempts: made + 1, attempt: cancel}
	if l.hedge.on(in) {
		l.hedged(actx, in, a, &r)
		return r
	}
	r.Outcome = a.Try(actx, r.Attempt)
	return r
}

// stopNot means that the call goes on.
const stopNot Stop = 255

// next decides on an attempt after o, the outcome of the attempt before retry n.
func (l *Loop) next(ctx context.Context, in *Info, from *Inbound, o Outcome, n int) (time.Duration, Stop) {
	r := &l.retry
	switch {
	case o.Class == Success || o.Class == Neutral && !o.Unsent || ctx.Err() != nil:
		return 0, StopDone
	case o.RetryAfter < 0 || o.RetryAfter > r.MaxWait:
		return 0, StopServer
	case o.once || !r.When(in, o):
		return 0, StopRule
	case from != nil && from.Attempt > 1 && !o.free():
		return 0, StopChain
	case n >= r.Attempts:
		return 0, StopAttempts
	}
	wait := o.RetryAfter + r.Backoff.Delay(n)
	if end, has := ctx.Deadline(); has && time.Until(end) < wait+r.MinRemaining {
		return 0, StopTime
	}
	if !o.free() && !l.budget.Retry() {
		l.budget.counts.exhausted.Add(1)
		if l.empty != nil {
			l.empty(in)
		}
		return 0, StopBudget
	}
	l.budget.counts.retries.Add(1)
	return wait, stopNot
}

// sleep waits, and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// refusedBelow is the outcome of an attempt that a gate inside the Loop refused.
func refusedBelow(err error) (Outcome, bool) {
	if err == nil {
		return Outcome{}, false // without an allocation
	}
	var r *Refused
	if !errors.As(err, &r) {
		return Outcome{}, false
	}
	return r.Outcome, true
}

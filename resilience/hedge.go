package resilience

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrHedgeLost is the cause that the context of an attempt ends with when the
// other one was faster. The attempt is Neutral: its endpoint did nothing wrong.
var ErrHedgeLost = errors.New("resilience: the other attempt of the hedged call was faster")

// DefaultHedgeMinDelay is the default of [Hedge.MinDelay].
const DefaultHedgeMinDelay = time.Millisecond

// Hedge sends a call a second time when the first attempt takes unusually long,
// and takes the reply that comes first ("The Tail at Scale", Dean and Barroso).
// Only calls that are idempotent and no streams are hedged. Each hedge is taken
// from the [Budget], which also bounds their share; when it is empty the first
// attempt simply goes on.
type Hedge struct {
	// Enabled switches it on; false: no call is made twice at the same time.
	Enabled bool
	// Delay is when the second attempt starts; zero: the live p95 of the method.
	// While that is not known (fewer than 20 calls) nothing is hedged.
	Delay time.Duration
	// MinDelay is the least that the live p95 is taken for; zero: 1 ms.
	MinDelay time.Duration
	// Methods are the gRPC or HTTP methods that may be hedged; empty: all whose
	// calls are idempotent.
	Methods []string
}

// Validate names the field that makes no sense.
func (h Hedge) Validate() error {
	switch {
	case h.Delay < 0:
		return fmt.Errorf("resilience: Hedge.Delay is %v: it must not be negative", h.Delay)
	case h.MinDelay < 0:
		return fmt.Errorf("resilience: Hedge.MinDelay is %v: it must not be negative", h.MinDelay)
	case !h.Enabled && (h.Delay != 0 || h.MinDelay != 0 || len(h.Methods) > 0):
		return errors.New("resilience: Hedge.Enabled is false, but other fields of Hedge are set: set it, or none of them")
	case slices.Contains(h.Methods, ""):
		return errors.New("resilience: Hedge.Methods has an empty name: write methods as in Info.Method")
	}
	return nil
}

func (h Hedge) withDefaults() Hedge {
	if h.MinDelay == 0 {
		h.MinDelay = DefaultHedgeMinDelay
	}
	return h
}

// on reports whether a call may be hedged.
func (h *Hedge) on(in *Info) bool {
	return h.Enabled && in.Idempotent && !in.Stream && (len(h.Methods) == 0 || slices.Contains(h.Methods, in.Method))
}

// Hedges reports whether a call like in may be made twice at the same time, so
// that each attempt needs its own reply.
func (l *Loop) Hedges(in *Info) bool { return l.hedge.on(in) }

// hedged makes an attempt and, if that takes long, a second one. The first runs
// here, the second on the goroutine of the timer: nothing is started that is not
// needed. Whoever succeeds first ends the other's context; the call waits for the
// loser to return, so that no one touches the request after it.
func (l *Loop) hedged(ctx context.Context, in *Info, a Attempt, r *Result) {
	seen := l.seen.of(in.Method)
	delay := l.hedge.Delay
	if delay == 0 {
		if delay = seen.p95(); delay > 0 {
			delay = max(delay, l.hedge.MinDelay)
		}
	}
	start := time.Now()
	if delay == 0 {
		r.Outcome = a.Try(ctx, r.Attempt)
		if r.Outcome.Class == Success {
			seen.record(time.Since(start))
		}
		return
	}
	h := &race{l: l, a: a, n: r.Attempt + 1, ctx: ctx, limit: r.attempt}
	pctx, lose := context.WithCancelCause(ctx)
	h.lose = lose
	h.over.Add(1)
	timer := time.AfterFunc(delay, h.second)
	done := false
	defer func() {
		if !done { // the attempt panicked
			h.settle(nil)
			lose(nil)
			if timer.Stop() {
				h.over.Done()
			}
		}
	}()
	o := a.Try(pctx, r.Attempt)
	done = true
	won := h.first(o)
	took := time.Since(start)
	if timer.Stop() {
		h.over.Done()
	}
	h.over.Wait()
	if o.Class == Success || h.won { // a loser would have taken longer still
		seen.record(took)
	}
	h.result(r, o, won)
}

// race is the state of a hedged attempt.
type race struct {
	l     *Loop
	a     Attempt
	n     int // the number of the second attempt
	ctx   context.Context
	limit context.CancelFunc      // the attempt's timeout, or nil
	lose  context.CancelCauseFunc // ends the first attempt
	over  sync.WaitGroup          // the timer's function

	mu      sync.Mutex
	settled bool                    // the call has a winner or needs none
	began   bool                    // the second attempt began
	drop    context.CancelCauseFunc // ends the second attempt
	won     bool                    // the second attempt is the winner
	outcome Outcome                 // of the second attempt
}

// second runs when the first attempt takes long.
func (h *race) second() {
	defer h.over.Done()
	h.mu.Lock()
	if h.settled || h.ctx.Err() != nil || !h.l.budget.Hedge() {
		h.mu.Unlock()
		return
	}
	h.l.budget.counts.hedges.Add(1)
	ctx, drop := context.WithCancelCause(h.ctx)
	if VerdictFrom(ctx) != nil { // that is the first attempt's
		ctx = &verdictContext{Context: ctx}
	}
	h.began, h.drop = true, drop
	h.mu.Unlock()
	o := h.a.Try(ctx, h.n)
	h.mu.Lock()
	h.outcome = o
	win := !h.settled && o.Class == Success
	h.settled, h.won = h.settled || win, win
	h.mu.Unlock()
	if win {
		h.lose(ErrHedgeLost)
	}
}

// first takes the outcome of the first attempt and reports whether that won.
func (h *race) first(o Outcome) bool {
	if o.Failed() || o.Class == Throttled {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.began {
			h.settled = true // nothing to wait for
		}
		return false
	}
	return h.settle(ErrHedgeLost)
}

// settle ends the race, unless it has ended, and reports whether it had not.
func (h *race) settle(cause error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled {
		return false
	}
	h.settled = true
	if h.drop != nil {
		h.drop(cause)
	}
	return true
}

// result chooses between the attempts when both are over.
func (h *race) result(r *Result, o Outcome, won bool) {
	r.Outcome = o
	drop := h.lose
	if h.began {
		r.Attempts, r.Hedged = h.n, true
		if h.won || !won && h.outcome.Class == Success {
			r.Outcome, r.Attempt = h.outcome, h.n
		}
	}
	other := h.drop
	limit := h.limit
	r.attempt = func() {
		drop(context.Canceled)
		if other != nil {
			other(context.Canceled)
		}
		if limit != nil {
			limit()
		}
	}
}

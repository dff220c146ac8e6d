package resilience

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// timed attempts take as long as told, unless their context ends first.
type timed struct {
	mu     sync.Mutex
	took   []time.Duration // by attempt; the last one repeats
	out    []Outcome
	causes map[int]error
	begun  int
}

func (a *timed) Try(ctx context.Context, n int) Outcome {
	a.mu.Lock()
	a.begun++
	d, o := a.took[min(n, len(a.took))-1], fine
	if len(a.out) > 0 {
		o = a.out[min(n, len(a.out))-1]
	}
	a.mu.Unlock()
	if sleep(ctx, d) {
		return o
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.causes == nil {
		a.causes = map[int]error{}
	}
	a.causes[n] = context.Cause(ctx)
	return FromGRPC(GRPCReply{Err: ctx.Err(), BytesSent: true, CallerEnded: CallerEnded(ctx, time.Time{})})
}

const ms = time.Millisecond

func TestHedge(t *testing.T) {
	t.Parallel()
	ok, bad := fine, down
	tests := []struct {
		name  string
		a     *timed
		in    Info
		empty bool // budget
		took  time.Duration
		won   int
		made  int
		want  Class
		lost  int // the attempt that is cancelled
	}{
		{name: "fast", a: &timed{took: []time.Duration{5 * ms}}, in: safe, took: 5 * ms, won: 1, made: 1, want: Success},
		{name: "hedge wins", a: &timed{took: []time.Duration{100 * ms, 5 * ms}}, in: safe, took: 15 * ms, won: 2, made: 2, want: Success, lost: 1},
		{name: "first wins late", a: &timed{took: []time.Duration{20 * ms, 100 * ms}}, in: safe, took: 20 * ms, won: 1, made: 2, want: Success, lost: 2},
		{name: "first fails, hedge goes on", a: &timed{took: []time.Duration{20 * ms, 100 * ms}, out: []Outcome{bad, ok}}, in: safe, took: 110 * ms, won: 2, made: 2, want: Success},
		{name: "hedge fails, first goes on", a: &timed{took: []time.Duration{100 * ms, 5 * ms}, out: []Outcome{ok, bad}}, in: safe, took: 100 * ms, won: 1, made: 2, want: Success},
		{name: "first fails at once", a: &timed{took: []time.Duration{5 * ms}, out: []Outcome{bad}}, in: safe, took: 5 * ms, won: 1, made: 1, want: Retryable},
		{name: "both fail", a: &timed{took: []time.Duration{20 * ms}, out: []Outcome{bad}}, in: safe, took: 30 * ms, won: 1, made: 2, want: Retryable},
		{name: "no budget", a: &timed{took: []time.Duration{100 * ms, 5 * ms}}, in: safe, empty: true, took: 100 * ms, won: 1, made: 1, want: Success},
		{name: "not idempotent", a: &timed{took: []time.Duration{100 * ms, 5 * ms}}, in: unsafe, took: 100 * ms, won: 1, made: 1, want: Success},
		{name: "stream", a: &timed{took: []time.Duration{100 * ms, 5 * ms}}, in: Info{Idempotent: true, Stream: true}, took: 100 * ms, won: 1, made: 1, want: Success},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := LoopConfig{Hedge: Hedge{Enabled: true, Delay: 10 * ms}, Retry: Retry{Attempts: 1}}
				if tt.empty {
					cfg.Budget = newBudget(t, BudgetConfig{Ratio: tiny, Reserve: tiny})
				}
				l, begin, a := newLoop(t, cfg), time.Now(), tt.a
				r := l.Do(t.Context(), &tt.in, a)
				r.End()
				if took := time.Since(begin); took != tt.took || r.Attempt != tt.won || r.Attempts != tt.made || a.begun != tt.made || r.Outcome.Class != tt.want || r.Hedged != (tt.made > 1) {
					t.Errorf("%+v after %v, %d begun; want %d of %d after %v", r, took, a.begun, tt.won, tt.made, tt.took)
				}
				for n, cause := range a.causes {
					if n != tt.lost || !errors.Is(cause, ErrHedgeLost) {
						t.Errorf("attempt %d ended with %v", n, cause)
					}
				}
				if tt.lost != 0 && len(a.causes) != 1 {
					t.Error("the loser was not cancelled")
				}
			})
		})
	}
}

// The context of the winner stays alive until the caller has read its reply.
func TestHedgeWinnerLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ctxs [3]context.Context
		l := newLoop(t, LoopConfig{Hedge: Hedge{Enabled: true, Delay: ms}, Retry: Retry{AttemptTimeout: time.Second}})
		r := l.Do(t.Context(), &safe, AttemptFunc(func(ctx context.Context, n int) Outcome {
			ctxs[n] = ctx
			if n == 1 {
				<-ctx.Done()
				return Outcome{}
			}
			return fine
		}))
		if r.Attempt != 2 || ctxs[2].Err() != nil || ctxs[1].Err() == nil {
			t.Errorf("%+v, contexts %v and %v", r, ctxs[1].Err(), ctxs[2].Err())
		}
		r.End()
		if ctxs[2].Err() == nil {
			t.Error("End left the winner's context alive")
		}
	})
}

func TestHedgeAtLiveP95(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t, LoopConfig{Hedge: Hedge{Enabled: true}})
		slow := &timed{took: []time.Duration{time.Second, ms}}
		r := l.Do(t.Context(), &safe, slow)
		r.End()
		if r.Hedged {
			t.Error("hedged before anything is known")
		}
		for i := range 200 {
			r = l.Do(t.Context(), &safe, &timed{took: []time.Duration{time.Duration(10+i%10) * ms}})
			r.End()
		}
		begin := time.Now()
		r = l.Do(t.Context(), &safe, slow)
		r.End()
		if took := time.Since(begin); !r.Hedged || r.Attempt != 2 || took < 18*ms || took > 24*ms {
			t.Errorf("%+v after %v; want a hedge at about 19ms", r, took)
		}
		other := Info{Method: "/pay.Pay/List", Idempotent: true}
		r = l.Do(t.Context(), &other, slow)
		r.End()
		if r.Hedged {
			t.Error("hedged at another method's p95")
		}
	})
}

// When both attempts of a hedged call failed, the retry after them starts afresh:
// its context lives, and is hedged in its turn.
func TestRetryAfterHedge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := LoopConfig{Hedge: Hedge{Enabled: true, Delay: 10 * ms}, Retry: Retry{AttemptTimeout: time.Second, Backoff: Backoff{Base: 1, Cap: 1}}}
		cfg.Budget = newBudget(t, BudgetConfig{Ratio: 1, HedgeRatio: 1})
		a := &timed{took: []time.Duration{20 * ms, 20 * ms, 5 * ms}, out: []Outcome{down, down, fine}}
		l := newLoop(t, cfg)
		r := l.Do(t.Context(), &safe, a)
		r.End()
		if r.Outcome.Class != Success || r.Attempt != 3 || r.Attempts != 3 || !r.Hedged || len(a.causes) != 0 {
			t.Errorf("%+v, cancelled: %v", r, a.causes)
		}
	})
}

// Under load on a service that became slow, hedges stay within their share.
func TestHedgeShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t, LoopConfig{Hedge: Hedge{Enabled: true, Delay: 10 * ms}})
		a := &timed{took: []time.Duration{20 * ms}}
		const calls = 3000
		for range calls {
			r := l.Do(t.Context(), &safe, a)
			r.End()
		}
		extra := a.begun - calls
		if most := calls*3/100 + 7; extra > most || extra < calls/100 {
			t.Errorf("%d hedges for %d slow calls, at most %d", extra, calls, most)
		}
	})
}

func TestHedgeStopsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
		defer cancel()
		a := &timed{took: []time.Duration{time.Second}}
		l := newLoop(t, LoopConfig{Hedge: Hedge{Enabled: true, Delay: 10 * ms}})
		begin := time.Now()
		r := l.Do(ctx, &safe, a)
		r.End()
		if time.Since(begin) != 50*ms || r.Outcome.Class != Neutral || a.begun != 2 {
			t.Errorf("%+v after %v, %d begun", r, time.Since(begin), a.begun)
		}
	})
}

func TestHedgePanicEndsTheHedge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t, LoopConfig{Hedge: Hedge{Enabled: true, Delay: ms}})
		ended := make(chan struct{})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			l.Do(t.Context(), &safe, AttemptFunc(func(ctx context.Context, n int) Outcome {
				if n == 2 {
					<-ctx.Done()
					close(ended)
					return Outcome{}
				}
				time.Sleep(10 * ms)
				panic("attempt")
			}))
		}()
		<-ended
	})
}

// Many hedged calls at once, for the race detector.
func TestHedgeConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t, LoopConfig{Hedge: Hedge{Enabled: true, Delay: ms}, Budget: newBudget(t, BudgetConfig{Ratio: 1, HedgeRatio: 1, Reserve: 1e6})})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				replies := make([]int, 3) // one place for each attempt
				for k := range 20 {
					r := l.Do(t.Context(), &safe, AttemptFunc(func(ctx context.Context, n int) Outcome {
						if !sleep(ctx, time.Duration((i*7+k*13+n*5)%4)*ms) {
							return Outcome{}
						}
						replies[n] = n
						return fine
					}))
					if r.Outcome.Class != Success || replies[r.Attempt] != r.Attempt {
						t.Errorf("%+v, replies %v", r, replies)
					}
					r.End()
				}
			})
		}
		wg.Wait()
	})
}

func TestHedgeAllocs(t *testing.T) {
	l := newLoop(t, LoopConfig{Timeout: NoTimeout, Hedge: Hedge{Enabled: true, Delay: time.Hour}})
	a := AttemptFunc(func(context.Context, int) Outcome { return fine })
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		r := l.Do(ctx, &safe, a)
		r.End()
	}); n > 6 {
		t.Errorf("%v allocations for an armed hedge that did not fire, at most 6", n)
	}
}

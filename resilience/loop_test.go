package resilience

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newLoop(t testing.TB, cfg LoopConfig) *Loop {
	t.Helper()
	l, err := NewLoop(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// script is an Attempt with prepared outcomes; the last one repeats.
type script struct {
	outcomes []Outcome
	at       []time.Time
}

func (s *script) Try(_ context.Context, n int) Outcome {
	s.at = append(s.at, time.Now())
	return s.outcomes[min(n, len(s.outcomes))-1]
}

var (
	down    = Outcome{Class: Retryable}
	refused = Outcome{Class: Retryable, Unsent: true}
	fine    = Outcome{Class: Success}
	safe    = Info{Service: "pay", Method: "/pay.Pay/Get", Idempotent: true}
	unsafe  = Info{Service: "pay", Method: "/pay.Pay/Charge"}
)

func TestLoopDecides(t *testing.T) {
	t.Parallel()
	empty := newBudget(t, BudgetConfig{Ratio: tiny, Reserve: tiny})
	after := func(o Outcome, d time.Duration) Outcome { o.RetryAfter = d; return o }
	throttled := Outcome{Class: Throttled}
	tests := []struct {
		name     string
		cfg      LoopConfig
		in       Info
		outcomes []Outcome
		attempts int
		stop     Stop
		want     Class
	}{
		{"success", LoopConfig{}, safe, []Outcome{fine}, 1, StopDone, Success},
		{"cured", LoopConfig{}, safe, []Outcome{down, fine}, 2, StopDone, Success},
		{"never cured", LoopConfig{}, safe, []Outcome{down}, 3, StopAttempts, Retryable},
		{"not idempotent", LoopConfig{}, unsafe, []Outcome{down}, 1, StopRule, Retryable},
		{"not idempotent, unsent", LoopConfig{}, unsafe, []Outcome{refused, fine}, 2, StopDone, Success},
		{"failure", LoopConfig{}, safe, []Outcome{{Class: Failure}}, 1, StopRule, Failure},
		{"neutral", LoopConfig{}, safe, []Outcome{{}}, 1, StopDone, Neutral},
		{"one attempt", LoopConfig{Retry: Retry{Attempts: 1}}, safe, []Outcome{refused}, 1, StopAttempts, Retryable},
		{"five attempts", LoopConfig{Retry: Retry{Attempts: 5}}, safe, []Outcome{down}, 5, StopAttempts, Retryable},
		{"throttled", LoopConfig{}, safe, []Outcome{throttled}, 1, StopRule, Throttled},
		{"throttled for a while", LoopConfig{}, safe, []Outcome{after(throttled, time.Second), fine}, 2, StopDone, Success},
		{"told not to come back", LoopConfig{}, safe, []Outcome{after(down, -1)}, 1, StopServer, Retryable},
		{"told to wait too long", LoopConfig{}, safe, []Outcome{after(down, 6*time.Second)}, 1, StopServer, Retryable},
		{"told to wait beyond the deadline", LoopConfig{Timeout: time.Second}, safe, []Outcome{after(down, 2*time.Second)}, 1, StopTime, Retryable},
		{"empty budget", LoopConfig{Budget: empty}, safe, []Outcome{down}, 1, StopBudget, Retryable},
		{"unsent needs no budget", LoopConfig{Budget: empty}, safe, []Outcome{refused, refused, fine}, 3, StopDone, Success},
		{"own rule", LoopConfig{Retry: Retry{When: func(*Info, Outcome) bool { return true }}}, unsafe, []Outcome{{Class: Failure}, fine}, 2, StopDone, Success},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLoop(t, tt.cfg)
			synctest.Test(t, func(t *testing.T) {
				s := &script{outcomes: tt.outcomes}
				r := l.Do(t.Context(), &tt.in, s)
				r.End()
				if r.Attempts != tt.attempts || len(s.at) != tt.attempts || r.Attempt != tt.attempts || r.Stop != tt.stop || r.Outcome.Class != tt.want {
					t.Errorf("%d attempts, result %+v; want %d, %v, %v", len(s.at), r, tt.attempts, tt.stop, tt.want)
				}
			})
		})
	}
}

func TestLoopWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t, LoopConfig{Retry: Retry{Backoff: Backoff{Base: 20 * time.Millisecond}}})
		s := &script{outcomes: []Outcome{{Class: Retryable, RetryAfter: 700 * time.Millisecond}, down, fine}}
		r := l.Do(t.Context(), &safe, s)
		r.End()
		first, second := s.at[1].Sub(s.at[0]), s.at[2].Sub(s.at[1])
		if first < 700*time.Millisecond || first > 720*time.Millisecond {
			t.Errorf("waited %v where the server asked for 700ms", first)
		}
		if second > 40*time.Millisecond {
			t.Errorf("waited %v before the second retry, at most 40ms", second)
		}
	})
}

func TestLoopStopsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t, LoopConfig{Retry: Retry{Attempts: 10, MaxWait: time.Minute}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		begin := time.Now()
		s := &script{outcomes: []Outcome{{Class: Retryable, RetryAfter: 20 * time.Second}}}
		r := l.Do(ctx, &safe, s)
		r.End()
		if r.Attempts != 1 || r.Stop != StopTime || time.Since(begin) != 3*time.Second {
			t.Errorf("%+v after %v", r, time.Since(begin))
		}
		s = &script{outcomes: []Outcome{down}}
		if r = l.Do(ctx, &safe, s); r.Attempts != 1 || r.Stop != StopDone {
			t.Errorf("with a cancelled context: %+v", r)
		}
		r.End()
	})
}

// Nothing amplifies: whatever fails, and however long, the repeats stay inside the budget.
func TestBudgetBoundsAmplification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{})
		l := newLoop(t, LoopConfig{Budget: b, Hedge: Hedge{Enabled: true, Delay: time.Millisecond}, Retry: Retry{Attempts: 5, Backoff: Backoff{Base: 1, Cap: 1}}})
		var sent atomic.Int64
		a := AttemptFunc(func(ctx context.Context, _ int) Outcome {
			sent.Add(1)
			time.Sleep(2 * time.Millisecond) // long enough for a hedge
			return down
		})
		const calls = 20000
		begin := time.Now()
		for range calls {
			r := l.Do(t.Context(), &safe, a)
			r.End()
		}
		// 10 % of the requests and 10/s over the time, and one window's reserve before.
		most := calls*1.1 + 10*(time.Since(begin).Seconds()+10)
		if got := float64(sent.Load()); got > most+1 || got < calls*1.05 {
			t.Errorf("%d attempts for %d calls that all failed, at most %.0f", sent.Load(), calls, most)
		}
	})
}

func TestLoopTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wait := AttemptFunc(func(ctx context.Context, _ int) Outcome {
			<-ctx.Done()
			return FromGRPC(GRPCReply{Err: ctx.Err(), BytesSent: true, CallerEnded: CallerEnded(ctx, time.Time{})})
		})
		begin := time.Now()
		r := newLoop(t, LoopConfig{Timeout: time.Second}).Do(t.Context(), &safe, wait)
		r.End()
		if time.Since(begin) != time.Second || r.Attempts != 1 || r.Outcome.Class != Neutral {
			t.Errorf("call's own timeout: %+v after %v", r, time.Since(begin))
		}

		begin = time.Now()
		l := newLoop(t, LoopConfig{Timeout: time.Hour, Retry: Retry{AttemptTimeout: time.Second, Backoff: Backoff{Base: 1, Cap: 1}}})
		r = l.Do(t.Context(), &safe, wait)
		r.End()
		if took := time.Since(begin).Round(time.Millisecond); took != 3*time.Second || r.Attempts != 3 || r.Outcome.Class != Retryable {
			t.Errorf("attempt's timeout is the endpoint's fault: %+v after %v", r, took)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		r = l.Do(ctx, &safe, wait)
		r.End()
		if r.Attempts != 2 || r.Outcome.Class != Neutral {
			t.Errorf("caller's deadline during the second attempt: %+v", r)
		}

		stream := Info{Stream: true}
		r = newLoop(t, LoopConfig{}).Do(t.Context(), &stream, AttemptFunc(func(ctx context.Context, _ int) Outcome {
			if _, has := ctx.Deadline(); has {
				t.Error("a stream got a deadline")
			}
			return fine
		}))
		r.End()
		l = newLoop(t, LoopConfig{Retry: Retry{AttemptTimeout: 2 * time.Second}})
		r = l.Do(ctx, &safe, AttemptFunc(func(actx context.Context, _ int) Outcome {
			if actx != ctx {
				t.Error("an attempt's timeout was set that cannot fire")
			}
			return fine
		}))
		r.End()
	})
}

func TestLoopAllocs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	l := newLoop(t, LoopConfig{Retry: Retry{AttemptTimeout: time.Hour}})
	a := &script{outcomes: []Outcome{fine}, at: make([]time.Time, 0, 1000)}
	if n := testing.AllocsPerRun(100, func() {
		r := l.Do(ctx, &safe, a)
		r.End()
	}); n != 0 {
		t.Errorf("%v allocations for a call with a deadline and no repeat", n)
	}
}

func TestBadPoliciesAreRefused(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for field, cfg := range map[string]LoopConfig{
		"LoopConfig.Timeout":   {Timeout: -1},
		"Retry.Attempts is -1": {Retry: Retry{Attempts: -1}},
		"Retry.Attempts is 10": {Retry: Retry{Attempts: 1000}},
		"Retry.AttemptTimeout": {Retry: Retry{AttemptTimeout: -1}},
		"Retry.MinRemaining":   {Retry: Retry{MinRemaining: -1}},
		"Retry.MaxWait":        {Retry: Retry{MaxWait: -1}},
		"Backoff.Base":         {Retry: Retry{Backoff: Backoff{Base: -1}}},
		"Backoff.Cap is -1":    {Retry: Retry{Backoff: Backoff{Cap: -1}}},
		"Backoff.Cap is 1":     {Retry: Retry{Backoff: Backoff{Cap: 1}}},
		"Hedge.Delay":          {Hedge: Hedge{Enabled: true, Delay: -1}},
		"Hedge.MinDelay":       {Hedge: Hedge{Enabled: true, MinDelay: -1}},
		"Hedge.Enabled":        {Hedge: Hedge{Delay: 1}},
		"Hedge.Methods":        {Hedge: Hedge{Enabled: true, Methods: []string{""}}},
	} {
		if _, err := NewLoop(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v, want one that names %s", err, field)
		}
	}
	for field, cfg := range map[string]BudgetConfig{
		"BudgetConfig.Ratio is -":     {Ratio: -0.1},
		"BudgetConfig.Ratio is 1.":    {Ratio: 1.1},
		"BudgetConfig.Ratio is N":     {Ratio: nan},
		"BudgetConfig.Reserve is -":   {Reserve: -1},
		"BudgetConfig.Reserve is N":   {Reserve: nan},
		"BudgetConfig.Reserve is +":   {Reserve: math.Inf(1)},
		"BudgetConfig.HedgeRatio":     {HedgeRatio: 3},
		"BudgetConfig.HedgeRatio is ": {HedgeRatio: nan},
		"BudgetConfig.Window":         {Window: time.Millisecond},
		"BudgetConfig.Window is -":    {Window: -time.Second},
	} {
		_, err := NewBudget(cfg)
		_, storeErr := NewBudgetStore(cfg)
		if err == nil || storeErr == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("errors %v and %v, want ones that name %s", err, storeErr, field)
		}
	}
	if _, err := NewDeadlineGate(DeadlineConfig{Min: -1}); err == nil || !strings.Contains(err.Error(), "DeadlineConfig.Min") {
		t.Errorf("error %v, want one that names DeadlineConfig.Min", err)
	}
}

func TestStopString(t *testing.T) {
	t.Parallel()
	for s, want := range map[Stop]string{StopDone: "done", StopRule: "rule", StopBudget: "budget", 99: "stop"} {
		if s.String() != want {
			t.Errorf("%d is %q, want %q", s, s, want)
		}
	}
}

package resilience

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAttemptNumbers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		s        string
		attempt  int
		previous int
	}{
		{"", 1, 1}, {"0", 1, 1}, {"1", 1, 2}, {"2", 2, 3}, {"7", 7, 8}, {"-3", 1, 1}, {"+3", 1, 1}, {"3 ", 1, 1}, {"x", 1, 1},
		{"999999999", 1000, 1000}, {"9999999999", 1, 1}, {"00000002", 2, 3},
	} {
		if n := ParseAttempt(tt.s); n != tt.attempt {
			t.Errorf("ParseAttempt(%q) = %d, want %d", tt.s, n, tt.attempt)
		}
		if n := ParsePreviousAttempts(tt.s); n != tt.previous {
			t.Errorf("ParsePreviousAttempts(%q) = %d, want %d", tt.s, n, tt.previous)
		}
	}
}

func FuzzAttemptNumbers(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "18446744073709551616", "0x10", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n := ParseAttempt(s); n < 1 || n > maxAttemptNumber {
			t.Errorf("%q is attempt %d", s, n)
		}
		if n := ParsePreviousAttempts(s); n < 1 || n > maxAttemptNumber {
			t.Errorf("%q is attempt %d", s, n)
		}
	})
}

func TestChainStops(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		attempt  int // of the inbound request
		in       Info
		outcomes []Outcome
		attempts int
		stop     Stop
		retried  bool
	}{
		{"first attempt retries", 1, safe, []Outcome{down}, 3, StopAttempts, true},
		{"cured leaves no mark", 1, safe, []Outcome{down, fine}, 2, StopDone, false},
		{"repeat does not repeat", 2, safe, []Outcome{down}, 1, StopChain, true},
		{"repeat repeats the unsent", 2, safe, []Outcome{refused, fine}, 2, StopDone, false},
		{"told to stop", 1, safe, []Outcome{{Class: Retryable, RetryAfter: -1}}, 1, StopServer, true},
		{"not repeatable: the layer above may", 1, unsafe, []Outcome{down}, 1, StopRule, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLoop(t, LoopConfig{})
				ctx, inbound := NewInbound(t.Context(), tt.attempt)
				r := l.Do(ctx, &tt.in, &script{outcomes: tt.outcomes})
				r.End()
				if r.Attempts != tt.attempts || r.Stop != tt.stop || inbound.Retried() != tt.retried {
					t.Errorf("%+v, marked %v; want %d, %v, %v", r, inbound.Retried(), tt.attempts, tt.stop, tt.retried)
				}
			})
		})
	}
}

// Four layers, the leaf dead: what reaches the leaf is one layer's retries, not
// their product (81 times for three attempts each).
func TestChainAmplification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		leaf := 0
		call := func(ctx context.Context, _ int) Outcome { leaf++; time.Sleep(ms); return down }
		for range 3 {
			below, l := call, newLoop(t, LoopConfig{Budget: newBudget(t, BudgetConfig{Reserve: tiny})})
			call = func(ctx context.Context, n int) Outcome {
				hctx, in := NewInbound(ctx, n)
				r := l.Do(hctx, &safe, AttemptFunc(below))
				r.End()
				if in.Retried() {
					r.Outcome.RetryAfter = -1 // as FromGRPC and FromHTTP read the mark
				}
				return r.Outcome
			}
		}
		const calls = 2000
		for range calls {
			call(t.Context(), 1)
		}
		if x := float64(leaf) / calls; x > 1.15 {
			t.Errorf("the leaf got %.2f times the load, at most 1.15", x)
		}
	})
}

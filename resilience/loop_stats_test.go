package resilience

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestLoopCountsItsRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget, err := NewBudget(BudgetConfig{Reserve: 0.3}) // three in 10 s
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLoop(LoopConfig{Budget: budget})
		if err != nil {
			t.Fatal(err)
		}
		in := Info{Service: "pay", Idempotent: true}
		for range 3 { // two retries, one retry, none
			r := l.Do(context.Background(), &in, AttemptFunc(func(context.Context, int) Outcome { return Outcome{Class: Retryable} }))
			r.End()
		}
		got := l.Status()
		if got.Retries != 3 || got.Exhausted != 2 || got.Hedges != 0 || got.Budget.Left != 0 {
			t.Errorf("%+v, want 3 retries, 2 calls without a budget, nothing left", got)
		}
	})
}

package resilience

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const tiny = 1e-9 // as good as none

func newBudget(t testing.TB, cfg BudgetConfig) *Budget {
	t.Helper()
	b, err := NewBudget(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func granted(f func() bool, n int) (yes int) {
	for range n {
		if f() {
			yes++
		}
	}
	return yes
}

func TestBudgetShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, BudgetConfig{})
		if n := granted(b.Retry, 500); n != 100 {
			t.Errorf("%d retries without requests, want the reserve of 10 s: 100", n)
		}
		for range 1000 {
			b.Request()
		}
		if n := granted(b.Retry, 500); n != 100 {
			t.Errorf("%d more retries after 1000 requests, want 10 %%: 100", n)
		}
		if st := b.Status(); st != (BudgetStatus{Requests: 1000, Repeats: 200}) {
			t.Errorf("status %+v", st)
		}
		time.Sleep(9 * time.Second)
		if b.Retry() {
			t.Error("a retry after 9 s: the window has not passed")
		}
		time.Sleep(time.Second)
		if n := granted(b.Retry, 500); n != 100 {
			t.Errorf("%d retries in a new window, want 100", n)
		}
	})
}

func TestBudgetHedges(t *testing.T) {
	t.Parallel()
	b := newBudget(t, BudgetConfig{Window: time.Hour})
	if n := granted(b.Hedge, 100); n != 1 {
		t.Errorf("%d hedges without requests, want 1", n)
	}
	for range 1000 {
		b.Request()
	}
	if n := granted(b.Hedge, 100); n != 29 {
		t.Errorf("%d more hedges after 1000 requests, want 30 in all", n)
	}
	none := newBudget(t, BudgetConfig{Ratio: tiny, Reserve: tiny, Window: time.Hour})
	if none.Hedge() || none.Retry() {
		t.Error("an empty budget granted a repeat")
	}
	if st := none.Status(); st.Repeats != 0 || st.Hedges != 0 {
		t.Errorf("refusals were counted: %+v", st)
	}
}

// Many at once get no more than one after the other.
func TestBudgetConcurrent(t *testing.T) {
	t.Parallel()
	b := newBudget(t, BudgetConfig{Reserve: tiny, Window: time.Hour})
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				b.Request()
				if b.Retry() {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if st := b.Status(); st.Requests != 8000 || st.Repeats != int(got.Load()) || st.Repeats > 800 || st.Repeats < 400 {
		t.Errorf("status %+v, %d granted", st, got.Load())
	}
}

func TestBudgetStore(t *testing.T) {
	t.Parallel()
	s, err := NewBudgetStore(BudgetConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.For("a"); a != s.For("a") || a == s.For("b") {
		t.Error("a service must have one Budget, and its own")
	}
	for i := range maxBudgets {
		s.For(string(rune('a' + i)))
	}
	if n := len(s.budgets); n > maxBudgets+1 {
		t.Errorf("%d budgets, at most %d", n, maxBudgets)
	}
	if s.For("one more") != s.For("yet another") {
		t.Error("services beyond the bound must share a Budget")
	}
}

func TestBudgetAllocs(t *testing.T) {
	b := newBudget(t, BudgetConfig{})
	if n := testing.AllocsPerRun(100, func() { b.Request(); b.Retry(); b.Hedge() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBudgetRequest(b *testing.B) {
	bud := newBudget(b, BudgetConfig{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			bud.Request()
		}
	})
}

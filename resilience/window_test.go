package resilience

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10*time.Second, 5)
		check := func(when string, a, b uint64) {
			t.Helper()
			if ga, gb := w.sum(w.now()); ga != a || gb != b {
				t.Errorf("%s: %d/%d, want %d/%d", when, ga, gb, a, b)
			}
		}
		check("empty", 0, 0)
		w.add(w.now(), 1, 1)
		w.add(w.now(), 1, 0)
		check("two", 2, 1)
		time.Sleep(8 * time.Second)
		w.add(w.now(), 1, 0)
		check("all in one round", 3, 1)
		time.Sleep(2 * time.Second)
		check("the first bucket is over", 1, 0)
		w.add(w.now(), 1, 1)
		check("used anew", 2, 1)
		time.Sleep(8 * time.Second)
		check("one bucket left", 1, 1)
		time.Sleep(24 * 365 * time.Hour)
		check("a year later", 0, 0)
		w.add(w.now(), 1, 1)
		w.reset()
		check("reset", 0, 0)
	})
}

func TestWindowHalvesAFullBucket(t *testing.T) {
	t.Parallel()
	w := newWindow(time.Hour, 1)
	w.buckets[0].Store(1<<turnShift | countMax<<countBits | countMax/2)
	w.add(0, 1, 0)
	if a, b := w.sum(0); a != countMax/2+1 || b != countMax/4 {
		t.Errorf("%d/%d", a, b)
	}
}

func TestWindowLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWindow(time.Hour, 4)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 10_000 {
				w.add(time.Minute, 1, uint64(i&1))
			}
		})
	}
	wg.Wait()
	if a, b := w.sum(time.Minute); a != 80_000 || b != 40_000 {
		t.Errorf("%d/%d, want 80000/40000", a, b)
	}
}

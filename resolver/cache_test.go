package resolver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// An empty answer after a list is held, visibly, and believed at the end of the hold.
func TestEmptyAnswerIsHeld(t *testing.T) {
	t.Parallel()
	for _, kept := range []int{1, 2, 10} {
		synctest.Test(t, func(t *testing.T) {
			var log events
			cat := static.New(static.Config{})
			set(t, cat, "payments", kept)
			c := newCache(t, cat, resolver.CacheConfig{Name: "aws", Logger: log.logger()})
			o := observe(t, c, "payments")
			before := o.now()

			begun := time.Now()
			cat.Remove("payments")
			s := o.now()
			if s.State != resolver.Known || !slices.Equal(s.Endpoints, before.Endpoints) {
				t.Fatalf("%+v, want all %d endpoints kept", s, kept)
			}
			if h := s.Held; h == nil || !h.Since.Equal(begun) || h.Until.Sub(h.Since) != 5*time.Minute || h.Reported != 0 || h.Kept != kept || !strings.HasPrefix(h.Reason, "empty") {
				t.Errorf("held %+v, want an empty answer held for 5 min", h)
			}
			if log.count("registry.empty_held") != 1 {
				t.Errorf("events %v, want one registry.empty_held", log.names)
			}
			if st := c.Status(); len(st) != 1 || st[0].Held == nil || st[0].Endpoints != kept {
				t.Errorf("status %+v", st)
			}
			time.Sleep(5*time.Minute - time.Second)
			if s := o.now(); len(s.Endpoints) != kept {
				t.Errorf("%d endpoints just before the end of the hold, want %d", len(s.Endpoints), kept)
			}
			time.Sleep(time.Second)
			if s := o.now(); s.State != resolver.Known || len(s.Endpoints) != 0 || s.Held != nil {
				t.Errorf("%+v after the hold, want a known empty list", s)
			}
			if log.count("registry.hold_ended") != 1 {
				t.Errorf("events %v, want one registry.hold_ended", log.names)
			}
		})
	}
}

func TestMassRemoval(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		before, left int
		fraction     float64
		held         bool
	}{
		{"half is believed", 10, 5, 0, false},
		{"more than half is held", 10, 4, 0, true},
		{"one of two is believed", 2, 1, 0, false},
		{"two of three are believed", 3, 1, 0, false},
		{"three of four are held", 4, 1, 0, true},
		{"one of one is held", 1, 0, 0, true},
		{"a stricter fraction", 10, 7, 0.2, true},
		{"all but one with fraction one", 10, 1, 1, false},
		{"empty with fraction one", 10, 0, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cat := static.New(static.Config{})
				set(t, cat, "payments", tt.before)
				o := observe(t, newCache(t, cat, resolver.CacheConfig{MassRemoval: tt.fraction}), "payments")
				o.now()
				set(t, cat, "payments", tt.left)
				s := o.now()
				want := tt.left
				if tt.held {
					want = tt.before
				}
				if (s.Held != nil) != tt.held || len(s.Endpoints) != want {
					t.Errorf("held %+v with %d endpoints; want held %v with %d", s.Held, len(s.Endpoints), tt.held, want)
				}
			})
		})
	}
}

// While a removal is held, new endpoints and new facts are taken at once, a sane
// answer ends the hold, and a repeated suspicious one does not prolong it.
func TestHoldTakesWhatIsNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 10)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{}), "payments")
		o.now()
		must(t, cat.Set("payments", resolver.Endpoint{Addr: addr(1), Weight: 7}, resolver.Endpoint{Addr: "10.9.9.9:9"}))
		s := o.now()
		if len(s.Endpoints) != 11 || s.Held == nil || s.Held.Reported != 2 || s.Held.Kept != 10 {
			t.Fatalf("%d endpoints, held %+v; want the 10 kept and the new one", len(s.Endpoints), s.Held)
		}
		for _, e := range s.Endpoints {
			if e.Addr == addr(1) && e.Weight != 7 {
				t.Errorf("the new weight was not taken: %+v", e)
			}
		}
		until := s.Held.Until
		time.Sleep(4 * time.Minute)
		cat.Remove("payments")
		if s := o.now(); len(s.Endpoints) != 10 || !s.Held.Until.Equal(until) {
			t.Errorf("%d endpoints until %v, want 10 until %v", len(s.Endpoints), s.Held.Until, until)
		}
		set(t, cat, "payments", 9)
		if s := o.now(); len(s.Endpoints) != 9 || s.Held != nil {
			t.Errorf("%d endpoints, held %+v after a sane answer; want 9", len(s.Endpoints), s.Held)
		}
	})
}

// Endpoints that live traffic has proven dead leave a held list early; the rest
// is believed once what is missing is no longer suspicious.
func TestEvidenceEndsAHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		dead := map[string]bool{}
		kill := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			for i := range n {
				dead[addr(i+1)] = true
			}
		}
		cat := static.New(static.Config{})
		set(t, cat, "payments", 10)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{Dead: func(id resolver.ID) bool {
			mu.Lock()
			defer mu.Unlock()
			return dead[id.Instance]
		}}), "payments")
		o.now()
		kill(2)
		must(t, cat.Set("payments"))
		if s := o.now(); len(s.Endpoints) != 8 || s.Held == nil || s.Held.Kept != 8 {
			t.Fatalf("%d endpoints, held %+v; want the 8 that are not proven dead", len(s.Endpoints), s.Held)
		}
		kill(10)
		time.Sleep(2 * time.Second)
		if s := o.now(); s.State != resolver.Known || len(s.Endpoints) != 0 || s.Held != nil {
			t.Errorf("%+v, want the empty answer believed: all are dead", s)
		}
	})
}

// A hold waits while the source is lost: a lost source confirms nothing.
func TestHoldWaitsForALostSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 4)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{}), "payments")
		o.now()
		cat.Remove("payments")
		o.now()
		cat.Lose(errBroken)
		time.Sleep(time.Hour)
		if s := o.now(); s.State != resolver.Stale || len(s.Endpoints) != 4 || !errors.Is(s.Reason, errBroken) {
			t.Errorf("%+v, want the 4 kept, stale", s)
		}
		cat.Restore()
		if s := o.now(); s.State != resolver.Known || len(s.Endpoints) != 0 {
			t.Errorf("%+v, want the answer believed: its time is over", s)
		}
	})
}

func TestHoldOffBelievesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 10)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{Hold: -1}), "payments")
		o.now()
		cat.Remove("payments")
		if s := o.now(); len(s.Endpoints) != 0 || s.Held != nil {
			t.Errorf("%+v, want an empty list", s)
		}
	})
}

// A registry that flaps must not move an unchanged endpoint: same pointers, same
// order, at most one watch.
func TestFlappingSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 5)
		src := &counted{Catalog: cat}
		o := observe(t, newCache(t, src, resolver.CacheConfig{}), "payments")
		before := o.now().Endpoints
		for i := range 60 {
			switch i % 4 {
			case 0:
				cat.Lose(errBroken)
			case 1:
				cat.Restore()
			case 2:
				cat.Remove("payments") // the answer of a server without a leader
			case 3:
				set(t, cat, "payments", 5)
			}
			if s := o.now(); !slices.EqualFunc(s.Endpoints, before, (*resolver.Endpoint).Equal) {
				t.Fatalf("step %d: %d endpoints, want the same 5", i, len(s.Endpoints))
			}
			time.Sleep(3 * time.Second)
		}
		if n := src.begun.Load(); n != 1 {
			t.Errorf("%d watches begun, want 1", n)
		}
	})
}

// The list outlives its watch: a service that nobody used for long is served at
// once when the source is lost meanwhile.
func TestMemoryOutlivesReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		src := &counted{Catalog: cat}
		set(t, cat, "payments", 3)
		c := newCache(t, src, resolver.CacheConfig{})
		o := observe(t, c, "payments")
		o.now()
		must(t, ignoreCanceled(o.end()))
		time.Sleep(9 * time.Minute)
		if n := src.running.Load(); n != 1 {
			t.Errorf("%d watches while lingering, want 1", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := src.running.Load(); n != 0 {
			t.Errorf("%d watches after the linger, want 0", n)
		}
		cat.Lose(errBroken)
		cat.Remove("payments")
		if s := observe(t, c, "payments").now(); s.State != resolver.Stale || len(s.Endpoints) != 3 {
			t.Errorf("%+v, want the 3 from memory", s)
		}
		// A name without endpoints leaves nothing behind.
		o = observe(t, c, "nothing")
		o.now()
		must(t, ignoreCanceled(o.end()))
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := c.Status(); len(st) != 1 {
			t.Errorf("status %+v, want only payments", st)
		}
	})
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func TestCacheConfigIsChecked(t *testing.T) {
	t.Parallel()
	nan := 0.0
	nan /= nan
	for want, cfg := range map[string]resolver.CacheConfig{
		"MaxAge": {MaxAge: -1}, "MassRemoval -": {MassRemoval: -0.1}, "MassRemoval 1.1": {MassRemoval: 1.1}, "MassRemoval NaN": {MassRemoval: nan},
	} {
		if _, err := resolver.NewCache(silent{}, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", cfg, err, want)
		}
	}
	if _, err := resolver.NewCache(nil, resolver.CacheConfig{}); err == nil {
		t.Error("a cache of nothing was made")
	}
}

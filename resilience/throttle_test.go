package resilience

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestThrottle(t testing.TB, seed uint64) *Throttle {
	t.Helper()
	th, err := NewThrottle(ThrottleConfig{Rand: rand.New(rand.NewPCG(seed, 0)).Float64})
	if err != nil {
		t.Fatal(err)
	}
	return th
}

// A service that can take 50 calls per second is sent about twice that, however
// many are offered, and gets everything again when it recovers.
func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := newTestThrottle(t, 1)
		run := func(seconds int) (sent int) {
			for range seconds {
				accepts := 50
				for range 500 {
					done, err := th.Enter(t.Context(), &Info{})
					if err != nil {
						if !errors.Is(err, ErrThrottled) {
							t.Fatal(err)
						}
						continue
					}
					sent++
					if accepts--; accepts >= 0 {
						done(succeeded)
					} else {
						done(Outcome{Class: Throttled})
					}
				}
				time.Sleep(time.Second)
			}
			return sent
		}
		run(120)
		if sent := run(60); sent < 60*90 || sent > 60*130 {
			t.Errorf("%d sent in 60 s, want about 6000", sent)
		}
		if n := enterN(t, th, &Info{Priority: CriticalPlus}, 100, succeeded); n != 0 {
			t.Errorf("%d calls of another class held back", n)
		}
		before := th.Probability(Critical)
		for range 180 {
			enterN(t, th, &Info{}, 500, succeeded)
			time.Sleep(time.Second)
		}
		if p := th.Probability(Critical); before < 0.7 || p > 0 {
			t.Errorf("held back with %v, then with %v", before, p)
		}
	})
}

func TestThrottleNeedsASign(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := newTestThrottle(t, 2)
		for range 10_000 { // a burst that waits for its answers
			if _, err := th.Enter(t.Context(), &Info{}); err != nil {
				t.Fatal(err)
			}
		}
		enterN(t, th, &Info{}, 4, Outcome{Class: Throttled})
		enterN(t, th, &Info{Priority: Sheddable}, 1000, Outcome{})
		enterN(t, th, &Info{Priority: SheddablePlus}, 1000, Outcome{Class: Failure})
		for p := range Priority(Priorities) {
			if th.Probability(p) != 0 {
				t.Errorf("%v is held back", p)
			}
		}
		mixed := newTestThrottle(t, 5) // many wait, and few of the answers are refusals
		for range 1000 {
			_, _ = mixed.Enter(t.Context(), &Info{})
		}
		enterN(t, mixed, &Info{}, 100, succeeded)
		enterN(t, mixed, &Info{}, 9, failed)
		if p := mixed.Probability(Critical); p != 0 {
			t.Errorf("%v for 9 refusals among 100 answers", p)
		}
		enterN(t, th, &Info{}, 1, Outcome{Class: Retryable})
		if p := th.Probability(Critical); p < 0.99 {
			t.Errorf("nobody answers but to refuse, and %v", p)
		}
		time.Sleep(2 * time.Minute)
		if p := th.Probability(Critical); p != 0 {
			t.Errorf("%v after the window", p)
		}
	})
}

func TestThrottleCountsStreamsAtOnce(t *testing.T) {
	t.Parallel()
	th := newTestThrottle(t, 3)
	for range 100 {
		if _, err := th.Enter(t.Context(), &Info{Stream: true}); err != nil {
			t.Fatal(err)
		}
	}
	enterN(t, th, &Info{Stream: true}, 20, failed)
	if p := th.Probability(Critical); p != 0 {
		t.Error(p)
	}
}

func TestThrottleAllocatesNothing(t *testing.T) {
	th := newTestThrottle(t, 4)
	ctx, in := t.Context(), &Info{}
	if n := testing.AllocsPerRun(1000, func() {
		done, _ := th.Enter(ctx, in)
		done(succeeded)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestThrottleConfigIsChecked(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]ThrottleConfig{
		"K":          {K: math.NaN()},
		"Window":     {Window: -1},
		"MinRefused": {MinRefused: -1},
	} {
		if _, err := NewThrottle(cfg); err == nil || !strings.Contains(err.Error(), "ThrottleConfig."+field+" is") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

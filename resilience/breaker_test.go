package resilience

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	failed    = Outcome{Class: Retryable}
	succeeded = Outcome{Class: Success}
)

// half is the middle of every random range.
func half() float64 { return 0.5 }

// enterN sends n calls through g that end at once with o, and counts the refused.
func enterN(t testing.TB, g Gate, in *Info, n int, o Outcome) (refused int) {
	t.Helper()
	for range n {
		done, err := g.Enter(t.Context(), in)
		if err != nil {
			refused++
			continue
		}
		done(o)
	}
	return refused
}

func newTestBreaker(t testing.TB, cfg BreakerConfig) *Breaker {
	t.Helper()
	if cfg.Rand == nil {
		cfg.Rand = half
	}
	b, err := NewBreaker("payments", "gcp", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBreakerOpensAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		var b *Breaker
		b = newTestBreaker(t, BreakerConfig{OnChange: func(c BreakerChange) {
			seen = append(seen, fmt.Sprint(c.From, ">", c.To, " ", b.State())) // asks the Breaker: no lock is held
		}})
		in := &Info{Service: "payments", Cloud: "gcp"}
		if n := enterN(t, b, in, 10, succeeded) + enterN(t, b, in, 9, failed); n != 0 || b.State() != BreakerClosed {
			t.Fatalf("refused %d, %v: 19 calls are too few", n, b.State())
		}
		if enterN(t, b, in, 1, failed); b.State() != BreakerOpen {
			t.Fatalf("%v after 10 of 20 failed", b.State())
		}
		_, err := b.Enter(t.Context(), in)
		var r *Refused
		if !errors.Is(err, ErrOpen) || !errors.As(err, &r) || r.RetryAfter != 5*time.Second || OutcomeOf(err) != (Outcome{Unsent: true}) {
			t.Errorf("refusal %v", err)
		}
		time.Sleep(5*time.Second + 1)
		if b.State() != BreakerHalfOpen {
			t.Errorf("%v after 5 s", b.State())
		}
		var open []func(Outcome)
		for range 3 {
			done, err := b.Enter(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, done)
		}
		if _, err := b.Enter(t.Context(), in); !errors.Is(err, ErrOpen) {
			t.Errorf("a fourth probe: %v", err)
		}
		for _, done := range open {
			done(succeeded)
			done(succeeded) // a second end counts nowhere
		}
		if n := enterN(t, b, in, 100, succeeded); n != 0 || b.State() != BreakerClosed {
			t.Errorf("refused %d, %v after three good probes", n, b.State())
		}
		if got := strings.Join(seen, ", "); got != "closed>open open, open>half-open half-open, half-open>closed closed" {
			t.Error(got)
		}
	})
}

func TestBreakerOpenTimeGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTestBreaker(t, BreakerConfig{})
		in := &Info{}
		trip := func() time.Duration {
			enterN(t, b, in, 20, failed)
			p := b.phase.Load()
			return p.until.Sub(p.since)
		}
		got := []time.Duration{trip()}
		for range 4 {
			time.Sleep(30*time.Second + 1)
			got = append(got, trip()) // the first probe fails
		}
		time.Sleep(30*time.Second + 1)
		enterN(t, b, in, 3, succeeded)
		time.Sleep(31 * time.Second) // closed for longer than it was open
		got = append(got, trip())
		if s := fmt.Sprint(got); s != "[5s 10s 20s 30s 30s 5s]" {
			t.Error(s)
		}
	})
}

func TestBreakerSlowCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTestBreaker(t, BreakerConfig{SlowCall: 100 * time.Millisecond, SlowRatio: 0.5, Window: time.Minute})
		call := func(in *Info, d time.Duration) {
			done, err := b.Enter(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(d)
			done(succeeded)
		}
		for range 30 {
			call(&Info{Stream: true}, time.Second)
		}
		for range 20 {
			call(&Info{}, 50*time.Millisecond)
		}
		if b.State() != BreakerClosed {
			t.Fatal("streams or fast calls opened it")
		}
		time.Sleep(time.Minute)
		for range 20 {
			call(&Info{}, 100*time.Millisecond)
		}
		if b.State() != BreakerOpen {
			t.Fatal("closed after 20 slow calls")
		}
		time.Sleep(5*time.Second + 1)
		call(&Info{}, 100*time.Millisecond)
		if b.State() != BreakerOpen {
			t.Error("a slow probe did not open it again")
		}
	})
}

func TestBreakerIgnoresWhatSaysNothing(t *testing.T) {
	t.Parallel()
	for _, o := range []Outcome{{}, {Unsent: true}, {Class: Throttled}} {
		b := newTestBreaker(t, BreakerConfig{})
		enterN(t, b, &Info{}, 1000, o)
		enterN(t, b, &Info{}, 19, failed)
		if b.State() != BreakerClosed {
			t.Errorf("%v counted", o.Class)
		}
	}
}

func TestHalfOpenAlwaysResolves(t *testing.T) {
	t.Parallel()
	ends := map[string]func(done func(Outcome)){
		"cancelled":               func(done func(Outcome)) { done(Outcome{}) },
		"blocked by a later gate": func(done func(Outcome)) { done(Outcome{Unsent: true}) },
		"throttled":               func(done func(Outcome)) { done(Outcome{Class: Throttled}) },
		"never ends":              func(func(Outcome)) {},
		"panics": func(func(Outcome)) {
			defer func() { _ = recover() }()
			panic("the caller forgot done")
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newTestBreaker(t, BreakerConfig{})
				enterN(t, b, &Info{}, 20, failed)
				time.Sleep(5*time.Second + 1)
				for range 3 {
					done, err := b.Enter(t.Context(), &Info{})
					if err != nil {
						t.Fatal(err)
					}
					end(done)
				}
				if b.State() != BreakerHalfOpen {
					t.Fatalf("%v after probes that say nothing", b.State())
				}
				time.Sleep(10 * time.Second)
				if n := enterN(t, b, &Info{}, 3, succeeded); n != 0 || b.State() != BreakerClosed {
					t.Errorf("refused %d, %v: stuck", n, b.State())
				}
			})
		})
	}
}

func TestLongStreamsCloseABreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTestBreaker(t, BreakerConfig{})
		enterN(t, b, &Info{}, 20, failed)
		time.Sleep(5*time.Second + 1)
		for range 3 {
			if _, err := b.Enter(t.Context(), &Info{Stream: true}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		if n := enterN(t, b, &Info{Stream: true}, 1, succeeded); n != 0 || b.State() != BreakerClosed {
			t.Errorf("refused %d, %v", n, b.State())
		}
	})
}

func TestRejectedIsNoFailedProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTestBreaker(t, BreakerConfig{Probes: 1})
		enterN(t, b, &Info{}, 20, failed)
		time.Sleep(5*time.Second + 1)
		done, err := b.Enter(t.Context(), &Info{})
		if err != nil {
			t.Fatal(err)
		}
		if n := enterN(t, b, &Info{}, 50, failed); n != 50 || b.State() != BreakerHalfOpen {
			t.Fatalf("refused %d, %v", n, b.State())
		}
		if done(succeeded); b.State() != BreakerClosed {
			t.Error("one good probe did not close it")
		}
	})
}

func TestLateAnswersDoNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTestBreaker(t, BreakerConfig{Probes: 1})
		var late []func(Outcome)
		for range 40 {
			done, _ := b.Enter(t.Context(), &Info{})
			late = append(late, done)
		}
		enterN(t, b, &Info{}, 20, failed)
		time.Sleep(5*time.Second + 1)
		probe, _ := b.Enter(t.Context(), &Info{})
		for _, done := range late[:20] {
			done(failed) // half-open: not the probe
		}
		probe(succeeded)
		for _, done := range late[20:] {
			done(failed) // closed: not this phase
		}
		if b.State() != BreakerClosed {
			t.Error(b.State())
		}
	})
}

func TestBreakerConcurrently(t *testing.T) {
	t.Parallel()
	b := newTestBreaker(t, BreakerConfig{OpenFor: time.Millisecond, SlowCall: time.Second, OnChange: func(BreakerChange) {}})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				if done, err := b.Enter(context.Background(), &Info{}); err == nil {
					if (i/50+w)%2 == 0 {
						done(failed)
					} else {
						done(succeeded)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestBreakerAllocatesNothing(t *testing.T) {
	for _, cfg := range []BreakerConfig{{}, {SlowCall: time.Hour}} {
		s, err := NewBreakerSet(cfg, 0)
		if err != nil {
			t.Fatal(err)
		}
		in := &Info{Service: "payments", Cloud: "gcp"}
		enterN(t, s, in, 1, succeeded)
		ctx := t.Context()
		if n := testing.AllocsPerRun(1000, func() {
			done, _ := s.Enter(ctx, in)
			done(succeeded)
		}); n != 0 && !raceEnabled {
			t.Errorf("SlowCall %v: %v allocations", cfg.SlowCall, n)
		}
	}
}

func TestBreakerSetIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := NewBreakerSet(BreakerConfig{}, 2)
		if err != nil {
			t.Fatal(err)
		}
		enterN(t, s, &Info{Service: "a"}, 30, failed)
		enterN(t, s, &Info{Service: "a", Cloud: "x"}, 1, failed)
		if n := enterN(t, s, &Info{Service: "c"}, 50, failed); n != 0 || s.Unwatched() != 50 {
			t.Errorf("refused %d, unwatched %d", n, s.Unwatched())
		}
		time.Sleep(20 * time.Second) // a/x is idle now
		enterN(t, s, &Info{Service: "c"}, 30, failed)
		got := s.States()
		if len(*s.by.Load()) != 2 || got[[2]string{"a", ""}] != BreakerHalfOpen || got[[2]string{"c", ""}] != BreakerOpen {
			t.Errorf("%d breakers, %v", len(*s.by.Load()), got)
		}
	})
}

func TestBreakerConfigIsChecked(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]BreakerConfig{
		"Window":       {Window: -1},
		"MinCalls":     {MinCalls: -1},
		"FailureRatio": {FailureRatio: 1.1},
		"SlowCall":     {SlowCall: -1},
		"SlowRatio":    {SlowRatio: math.NaN()},
		"OpenFor":      {OpenFor: -1},
		"MaxOpenFor":   {OpenFor: time.Minute, MaxOpenFor: time.Second},
		"Probes":       {Probes: -1},
		"ProbeTimeout": {ProbeTimeout: -1},
	} {
		_, err := NewBreaker("", "", cfg)
		_, err2 := NewBreakerSet(cfg, 0)
		if err == nil || err2 == nil || !strings.Contains(err.Error(), "BreakerConfig."+field+" is") {
			t.Errorf("%s: %v, %v", field, err, err2)
		}
	}
}

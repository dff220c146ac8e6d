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

func newTestRate(t testing.TB, cfg RateConfig) *RateLimit {
	t.Helper()
	l, err := NewRateLimit(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newTestRate(t, RateConfig{PerSecond: 10, Burst: 3, ByCaller: true, ByMethod: true})
		in := &Info{Caller: "spiffe://a/b", Method: "/pay.Pay/Charge"}
		if n := enterN(t, l, in, 10, succeeded); n != 7 {
			t.Errorf("%d of 10 refused, want all but a burst of 3", n)
		}
		_, err := l.Enter(t.Context(), in)
		var r *Refused
		if !errors.Is(err, ErrRate) || !errors.As(err, &r) || r.RetryAfter != 100*time.Millisecond {
			t.Errorf("%v", err)
		}
		for _, other := range []*Info{{Caller: "spiffe://a/c", Method: in.Method}, {Caller: in.Caller, Method: "/pay.Pay/Refund"}} {
			if n := enterN(t, l, other, 3, succeeded); n != 0 {
				t.Errorf("%d of another key refused", n)
			}
		}
		time.Sleep(100 * time.Millisecond)
		if n := enterN(t, l, in, 2, succeeded); n != 1 {
			t.Errorf("%d of 2 refused after a tenth of a second", n)
		}
		time.Sleep(time.Hour)
		if n := enterN(t, l, in, 10, succeeded); n != 7 {
			t.Errorf("%d of 10 refused after an hour", n)
		}
	})
}

func TestRateLimitForgetsTheOldest(t *testing.T) {
	t.Parallel()
	l := newTestRate(t, RateConfig{PerSecond: 0.001, Burst: 1, ByCaller: true, MaxKeys: 100})
	for i := range 10_000 {
		enterN(t, l, &Info{Caller: "regular"}, 1, succeeded)
		enterN(t, l, &Info{Caller: fmt.Sprint(i)}, 1, succeeded)
	}
	if l.Keys() != 100 {
		t.Errorf("%d keys", l.Keys())
	}
	if enterN(t, l, &Info{Caller: "regular"}, 1, succeeded) != 1 {
		t.Error("a key in use was forgotten")
	}
	if enterN(t, l, &Info{Caller: "0"}, 1, succeeded) != 0 {
		t.Error("an old key was kept")
	}
}

func TestRateLimitHonoursPushback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newTestRate(t, RateConfig{ByMethod: true})
		in := &Info{Service: "payments", Method: "GET"}
		enterN(t, l, in, 1, Outcome{Class: Throttled, RetryAfter: 7 * time.Second})
		enterN(t, l, in, 1, Outcome{Class: Throttled, RetryAfter: time.Second})
		if n := enterN(t, l, in, 5, succeeded); n != 5 {
			t.Errorf("%d of 5 refused", n)
		}
		if n := enterN(t, l, &Info{Service: "payments", Method: "PUT"}, 5, succeeded); n != 0 {
			t.Errorf("%d of another method refused", n)
		}
		time.Sleep(7 * time.Second)
		if n := enterN(t, l, in, 5, succeeded); n != 0 {
			t.Errorf("%d of 5 refused after the wait", n)
		}
		enterN(t, l, in, 1, Outcome{Class: Throttled, RetryAfter: MaxRetryAfter})
		time.Sleep(30 * time.Second)
		if n := enterN(t, l, in, 1, Outcome{Class: Throttled, RetryAfter: -1}); n != 0 {
			t.Error("held still for longer than MaxPushback")
		}
		enterN(t, l, in, 1, Outcome{Class: Retryable, RetryAfter: time.Minute}) // one endpoint's trouble
		if n := enterN(t, l, in, 1, succeeded); n != 0 {
			t.Error("held still without being asked")
		}
		off := newTestRate(t, RateConfig{MaxPushback: -1})
		enterN(t, off, in, 1, Outcome{Class: Throttled, RetryAfter: time.Minute})
		if n := enterN(t, off, in, 1, succeeded); n != 0 {
			t.Error("held still, turned off")
		}
	})
}

func TestRateLimitConcurrently(t *testing.T) {
	t.Parallel()
	l := newTestRate(t, RateConfig{PerSecond: 1e-6, Burst: 100, ByCaller: true, MaxKeys: 8})
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if done, err := l.Enter(context.Background(), &Info{Caller: "a"}); err == nil {
					done(succeeded)
					mu.Lock()
					in++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if in != 100 {
		t.Errorf("%d entered, want the burst", in)
	}
}

func TestRateLimitAllocatesNothing(t *testing.T) {
	l := newTestRate(t, RateConfig{PerSecond: 1e9, ByCaller: true, ByMethod: true})
	ctx, in := t.Context(), &Info{Caller: "spiffe://a/b", Method: "/pay.Pay/Charge"}
	if n := testing.AllocsPerRun(1000, func() {
		done, _ := l.Enter(ctx, in)
		done(succeeded)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRateConfigIsChecked(t *testing.T) {
	t.Parallel()
	for field, cfgs := range map[string][]RateConfig{
		"PerSecond": {{PerSecond: -1}, {PerSecond: math.NaN()}, {PerSecond: math.Inf(1)}, {PerSecond: 1e-9}},
		"Burst":     {{Burst: -1}, {PerSecond: 1e-6, Burst: math.MaxInt}},
		"MaxKeys":   {{MaxKeys: -1}},
	} {
		for _, cfg := range cfgs {
			if _, err := NewRateLimit(cfg); err == nil || !strings.Contains(err.Error(), "RateConfig."+field+" is") {
				t.Errorf("%s: %v", field, err)
			}
		}
	}
}

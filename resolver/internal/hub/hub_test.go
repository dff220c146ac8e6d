package hub

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter publishes 1, 2, 3 … once a second, and counts its runs.
type counter struct{ begun, running atomic.Int64 }

func (c *counter) run(ctx context.Context, _ string, publish func(int)) {
	c.begun.Add(1)
	c.running.Add(1)
	defer c.running.Add(-1)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		publish(n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func TestReadersShareAnUpstreamThatLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := New(time.Minute, c.run)
		defer h.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var deliveries atomic.Int64
		for range 10 {
			go func() { _ = h.Watch(ctx, "a", func(int) { deliveries.Add(1) }) }()
		}
		synctest.Wait()
		if c.begun.Load() != 1 || deliveries.Load() != 10 || !slices.Equal(h.Keys(), []string{"a"}) {
			t.Errorf("%d upstreams, %d deliveries, keys %q", c.begun.Load(), deliveries.Load(), h.Keys())
		}
		cancel()
		time.Sleep(59 * time.Second)
		if c.running.Load() != 1 {
			t.Error("the upstream ended before its linger")
		}
		// A reader within the linger finds the newest value, and keeps the upstream.
		ctx, cancel = context.WithCancel(t.Context())
		var first int
		_ = h.Watch(ctx, "a", func(n int) { first = n; cancel() })
		if first < 59 {
			t.Errorf("first value %d, want the newest", first)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if c.running.Load() != 0 || c.begun.Load() != 1 || len(h.Keys()) != 0 {
			t.Errorf("%d of %d upstreams run after the linger, keys %q", c.running.Load(), c.begun.Load(), h.Keys())
		}
	})
}

func TestWithoutLingerTheLastReaderWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		h := New(0, func(ctx context.Context, _ string, publish func(int)) {
			publish(1)
			<-ctx.Done()
			time.Sleep(time.Second)
			ended.Store(true)
		})
		defer h.Close()
		ctx, cancel := context.WithCancel(t.Context())
		if err := h.Watch(ctx, "a", func(int) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if !ended.Load() {
			t.Error("Watch returned while its upstream runs")
		}
	})
}

func TestCloseEndsReadersAndUpstreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := New(time.Hour, c.run)
		ended := make(chan error, 1)
		go func() { ended <- h.Watch(t.Context(), "a", func(int) {}) }()
		synctest.Wait()
		h.Close()
		h.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		if err := h.Watch(t.Context(), "a", func(int) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v after Close, want ErrClosed", err)
		}
		if c.running.Load() != 0 {
			t.Error("an upstream runs after Close")
		}
	})
}

func TestCloseWithinGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := New(time.Hour, func(context.Context, string, func(int)) { <-release })
		go func() { _ = h.Watch(t.Context(), "a", func(int) {}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.CloseWithin(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline", err)
		}
		close(release)
		if err := h.CloseWithin(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

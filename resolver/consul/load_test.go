package consul

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// TestCloseWithQueryInFlight: bubble checks that nothing is left of it.
func TestCloseWithQueryInFlight(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(question) response { return response{hang: true} }, func(t *testing.T, f *fake, c *Catalog) {
		w := read(t, c, "web")
		w.last()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Watch(t.Context(), "web", func(*resolver.Snapshot) {}); err == nil {
			t.Error("Watch after Close returned nil")
		}
	})
}

func TestThousandWatchesAreOneQuery(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Linger: time.Minute}, steps(list3(5)), func(t *testing.T, f *fake, c *Catalog) {
		for range 1000 {
			read(t, c, "web")
		}
		w := read(t, c, "web")
		if s := w.last(); !known(3)(s) {
			t.Errorf("got %s", show(s))
		}
		pass(time.Second)
		if n := f.queries(); n != 2 {
			t.Errorf("%d queries, want one read and one blocking query", n)
		}
	})
}

func TestLinger(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Linger: time.Minute, Wait: 10 * time.Minute}, steps(list3(5)), func(t *testing.T, f *fake, c *Catalog) {
		w := read(t, c, "web")
		w.last()
		w.stop()
		pass(50 * time.Second)
		again := read(t, c, "web")
		if s := again.last(); !known(3)(s) || f.queries() != 2 {
			t.Errorf("after a pause: %d queries, %s", f.queries(), show(s))
		}
		again.stop()
		pass(61 * time.Second)
		if keys := c.hub.Keys(); len(keys) != 0 {
			t.Errorf("unused services are still watched: %v", keys)
		}
	})
}

// TestConnectionLimit: drill D24, 300 services of one plain HTTP agent.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	answer := func(q question) response {
		if q.index < 5 {
			return list3(5)
		}
		return block(q, list3(5))
	}
	bubble(t, Config{}, answer, func(t *testing.T, f *fake, c *Catalog) {
		var ws []*reader
		for i := range 300 {
			ws = append(ws, read(t, c, fmt.Sprintf("svc-%d", i)))
		}
		pass(2 * time.Minute)
		f.set(func(q question) response {
			if q.index < 6 {
				return response{index: 6, body: instances(4)}
			}
			return block(q, response{index: 6, body: instances(4)})
		})
		pass(15 * time.Second)
		for i, w := range ws {
			if s := w.last(); !known(4)(s) {
				t.Fatalf("service %d: %s", i, show(s))
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.maxConns > defaultMaxConns {
			t.Errorf("%d connections at a time, want at most %d", f.maxConns, defaultMaxConns)
		}
	})
}

// TestOutageIsProbedByOne: in an outage one watch asks for all, and all are back
// soon after it.
func TestOutageIsProbedByOne(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(q question) response { return block(q, list3(5)) }, func(t *testing.T, f *fake, c *Catalog) {
		var ws []*reader
		for i := range 50 {
			ws = append(ws, read(t, c, fmt.Sprintf("svc-%d", i)))
		}
		pass(time.Second)
		f.set(func(question) response { return response{status: 500, body: "No cluster leader"} })
		pass(time.Minute)
		before := f.queries()
		pass(10 * time.Minute)
		// One prober asks every 2.5 s; each of the others asks by itself now and then.
		if n := f.queries() - before; n > 2500 {
			t.Errorf("%d queries of 50 watches in ten minutes of outage", n)
		}
		f.set(func(q question) response { return block(q, response{index: 9, body: instances(4)}) })
		pass(6 * time.Second)
		for _, w := range ws {
			if s := w.last(); !known(4)(s) {
				t.Fatalf("6 s after the outage: %s", show(s))
			}
		}
	})
}

package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

var errBroken = errors.New("the source is broken")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counted is a catalog that counts the watches running on it.
type counted struct {
	resolver.Catalog
	running, begun atomic.Int64
}

func (c *counted) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	c.running.Add(1)
	c.begun.Add(1)
	defer c.running.Add(-1)
	return c.Catalog.Watch(ctx, service, deliver)
}

// silent is a source that does not answer: it connects and then says nothing.
type silent struct{}

func (silent) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	deliver(&resolver.Snapshot{Service: service})
	<-ctx.Done()
	return ctx.Err()
}

func set(t testing.TB, cat *static.Catalog, service string, n int) {
	t.Helper()
	must(t, cat.Set(service, endpoints(n)...))
}

// endpoints are 10.0.0.1:1001 and so on.
func endpoints(n int) []resolver.Endpoint {
	eps := make([]resolver.Endpoint, n)
	for i := range eps {
		eps[i].Addr = addr(i + 1)
	}
	return eps
}

func addr(i int) string { return fmt.Sprintf("10.%d.%d.%d:%d", i>>16, i>>8&255, i&255, 1000+i%1000) }

// observer is one watch and its newest snapshot.
type observer struct {
	mu    sync.Mutex
	last  *resolver.Snapshot
	count int
	end   func() error
}

func observe(t testing.TB, cat resolver.Catalog, service string) *observer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o, done := &observer{}, make(chan error, 1)
	go func() {
		done <- cat.Watch(ctx, service, func(s *resolver.Snapshot) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.last = s
			o.count++
		})
	}()
	o.end = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = o.end() })
	return o
}

// now waits until everything in the bubble is idle and returns the newest snapshot.
func (o *observer) now() *resolver.Snapshot {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

func newCache(t testing.TB, src resolver.Catalog, cfg resolver.CacheConfig) *resolver.Cache {
	t.Helper()
	c, err := resolver.NewCache(src, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	return c
}

// events is a log handler that keeps the names of events, one service at a time.
type events struct {
	mu    sync.Mutex
	names []string
	text  strings.Builder
}

func (e *events) logger() *slog.Logger { return slog.New(e) }

func (e *events) Enabled(context.Context, slog.Level) bool { return true }
func (e *events) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e *events) WithGroup(string) slog.Handler            { return e }
func (e *events) Handle(_ context.Context, r slog.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names = append(e.names, r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&e.text, "%s=%v ", a.Key, a.Value); return true })
	return nil
}

func (e *events) count(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, m := range e.names {
		if m == name {
			n++
		}
	}
	return n
}

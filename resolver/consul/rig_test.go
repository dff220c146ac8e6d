package consul

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/resolver"
)

// patience bounds a wait for something that must happen.
const patience = 60 * time.Second

// open makes a catalog that the test's end closes.
func open(t testing.TB, cfg Config) *Catalog {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// reader collects the snapshots of one watch.
type reader struct {
	t    testing.TB
	snap chan *resolver.Snapshot
	stop func()
	mu   sync.Mutex
	all  []*resolver.Snapshot
}

func read(t testing.TB, c resolver.Catalog, service string) *reader {
	t.Helper()
	r := &reader{t: t, snap: make(chan *resolver.Snapshot, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Watch(ctx, service, func(s *resolver.Snapshot) {
			r.mu.Lock()
			r.all = append(r.all, s)
			r.mu.Unlock()
			for {
				select {
				case r.snap <- s:
					return
				case <-r.snap: // an unread one
				}
			}
		})
	}()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r
}

// until waits for a snapshot that ok accepts.
func (r *reader) until(what string, ok func(*resolver.Snapshot) bool) *resolver.Snapshot {
	r.t.Helper()
	deadline := time.After(patience)
	var last *resolver.Snapshot
	for {
		select {
		case last = <-r.snap:
			if ok(last) {
				return last
			}
		case <-deadline:
			r.t.Fatalf("no snapshot that %s; the last one: %s", what, show(last))
		}
	}
}

// poll asks until something is true that another process brings about.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// lines is a log that tests read while it is written.
type lines struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.Write(p) }

func (l *lines) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

func (r *reader) seen() []*resolver.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*resolver.Snapshot(nil), r.all...)
}

func show(s *resolver.Snapshot) string {
	if s == nil {
		return "none"
	}
	text := fmt.Sprintf("%s, reason %v, skipped %d %q", s.State, s.Reason, s.Skipped, s.SkippedReasons)
	for _, e := range s.Endpoints {
		text += fmt.Sprintf("\n  %+v", *e)
	}
	return text
}

// known accepts a confirmed list of n endpoints.
func known(n int) func(*resolver.Snapshot) bool {
	return func(s *resolver.Snapshot) bool { return s.State == resolver.Known && len(s.Endpoints) == n }
}

func stale(n int) func(*resolver.Snapshot) bool {
	return func(s *resolver.Snapshot) bool { return s.State == resolver.Stale && len(s.Endpoints) == n }
}

func at(a *consultest.Agent) Config {
	return Config{Address: a.HTTPAddr(), Token: a.Token()}
}

func register(t testing.TB, a *consultest.Agent, r *api.AgentServiceRegistration) {
	t.Helper()
	if r.Address == "" {
		r.Address = "127.0.0.1"
	}
	if err := a.Client().Agent().ServiceRegister(r); err != nil {
		t.Fatal(err)
	}
}

func deregister(t testing.TB, a *consultest.Agent, id string) {
	t.Helper()
	if err := a.Client().Agent().ServiceDeregister(id); err != nil {
		t.Fatal(err)
	}
}

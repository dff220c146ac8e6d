package resolvertest

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// watch is one running Watch and what it has delivered. Each delivery is checked.
type watch struct {
	t        *testing.T
	patience time.Duration
	service  string
	cancel   context.CancelFunc
	ended    chan struct{}

	mu       sync.Mutex
	inside   int // deliveries running; over 1 is a violation
	returned bool
	err      error
	count    int
	last     *resolver.Snapshot
	changed  chan struct{}
	gate     chan struct{} // a delivery waits until it is closed; nil: it does not
}

// begin starts a watch that ends with the test. gate, if not nil, holds up each
// delivery until it is closed.
func begin(t *testing.T, s Subject, service string, gate chan struct{}) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{t: t, patience: s.Patience, service: service, cancel: cancel,
		ended: make(chan struct{}), changed: make(chan struct{}), gate: gate}
	go func() {
		defer close(w.ended)
		err := s.Catalog.Watch(ctx, service, w.deliver)
		w.mu.Lock()
		w.err, w.returned = err, true
		w.mu.Unlock()
	}()
	t.Cleanup(func() { w.end() })
	return w
}

func (w *watch) deliver(s *resolver.Snapshot) {
	w.mu.Lock()
	w.inside++
	if w.inside > 1 {
		w.t.Errorf("two deliveries of %q at the same time", w.service)
	}
	if w.returned {
		w.t.Errorf("a delivery of %q after Watch returned", w.service)
	}
	inspect(w.t, w.service, s)
	w.last = s
	w.count++
	close(w.changed)
	w.changed = make(chan struct{})
	gate := w.gate
	w.mu.Unlock()
	if gate != nil {
		<-gate
	}
	w.mu.Lock()
	w.inside--
	w.mu.Unlock()
}

// inspect checks what holds for each snapshot by itself.
func inspect(t *testing.T, service string, s *resolver.Snapshot) {
	switch {
	case s == nil:
		t.Errorf("a nil snapshot of %q", service)
		return
	case s.Service != service:
		t.Errorf("a snapshot of %q for a watch of %q", s.Service, service)
	case s.State == resolver.Unknown && (len(s.Endpoints) > 0 || !s.AsOf.IsZero()):
		t.Errorf("an unknown snapshot of %q with %d endpoints, as of %v", service, len(s.Endpoints), s.AsOf)
	case s.State != resolver.Unknown && s.AsOf.IsZero():
		t.Errorf("a %s snapshot of %q without AsOf", s.State, service)
	case (s.State == resolver.Stale) != !s.StaleSince.IsZero():
		t.Errorf("a %s snapshot of %q, stale since %v", s.State, service, s.StaleSince)
	case s.State == resolver.Stale && s.Reason == nil:
		t.Errorf("a stale snapshot of %q without a reason", service)
	}
	for i, e := range s.Endpoints {
		if i > 0 && s.Endpoints[i-1].ID.Compare(e.ID) >= 0 {
			t.Errorf("endpoints of %q are not sorted and unique: %q before %q", service, s.Endpoints[i-1].ID, e.ID)
		}
		if e.Service != service {
			t.Errorf("endpoint %q of %q says that it is of service %q", e.ID, service, e.Service)
		}
		if _, _, err := net.SplitHostPort(e.Addr); err != nil || e.Weight < 1 || e.Weight > resolver.MaxWeight {
			t.Errorf("endpoint %q of %q: address %q, weight %d", e.ID, service, e.Addr, e.Weight)
		}
	}
}

// until waits for the first delivery, past or coming, that satisfies ok.
func (w *watch) until(what string, ok func(*resolver.Snapshot) bool) *resolver.Snapshot {
	w.t.Helper()
	timeout := time.NewTimer(w.patience)
	defer timeout.Stop()
	for {
		w.mu.Lock()
		last, changed := w.last, w.changed
		w.mu.Unlock()
		if last != nil && ok(last) {
			return last
		}
		select {
		case <-changed:
		case <-timeout.C:
			w.t.Fatalf("no snapshot of %q that is %s after %v; the last one is %s", w.service, what, w.patience, describe(last))
		}
	}
}

// known waits until exactly these addresses are known.
func (w *watch) known(addrs ...string) *resolver.Snapshot {
	w.t.Helper()
	slices.Sort(addrs)
	return w.until("known with "+join(addrs), func(s *resolver.Snapshot) bool {
		return s.State == resolver.Known && slices.Equal(addresses(s), addrs)
	})
}

// end cancels the watch and waits until it returned.
func (w *watch) end() {
	w.cancel()
	w.wait("its context ended")
}

func (w *watch) wait(why string) {
	w.t.Helper()
	timeout := time.NewTimer(w.patience)
	defer timeout.Stop()
	select {
	case <-w.ended:
	case <-timeout.C:
		w.t.Errorf("Watch of %q runs %v after %s", w.service, w.patience, why)
	}
}

func addresses(s *resolver.Snapshot) []string {
	addrs := make([]string, len(s.Endpoints))
	for i, e := range s.Endpoints {
		addrs[i] = e.Addr
	}
	slices.Sort(addrs)
	return addrs
}

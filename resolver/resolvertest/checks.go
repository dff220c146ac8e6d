package resolvertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

const service = "payments"

func addr(i int) string { return fmt.Sprintf("10.0.0.%d:%d", i, 1000+i) }

func join(addrs []string) string { return "[" + strings.Join(addrs, " ") + "]" }

func describe(s *resolver.Snapshot) string {
	if s == nil {
		return "missing"
	}
	return fmt.Sprintf("%s with %s, reason %v", s.State, join(addresses(s)), s.Reason)
}

func knownEmpty(t *testing.T, s Subject) {
	w := begin(t, s, service, nil)
	w.until("delivered", func(*resolver.Snapshot) bool { return true })
	w.known()
	s.Set(service, addr(1))
	w.known(addr(1))
	s.Set(service)
	w.known()
}

func whole(t *testing.T, s Subject) {
	s.Set(service, addr(3), addr(1), addr(2))
	w := begin(t, s, service, nil)
	w.known(addr(1), addr(2), addr(3))
	s.Set(service, addr(2), addr(4), addr(1), addr(3))
	w.known(addr(1), addr(2), addr(3), addr(4))
	s.Set(service, addr(4))
	w.known(addr(4))
}

func services(t *testing.T, s Subject) {
	s.Set(service, addr(1))
	s.Set("inventory", addr(2))
	a, b := begin(t, s, service, nil), begin(t, s, "inventory", nil)
	a.known(addr(1))
	b.known(addr(2))
	s.Set("inventory")
	b.known()
	a.known(addr(1))
}

func pointers(t *testing.T, s Subject) {
	s.Set(service, addr(1), addr(2))
	w := begin(t, s, service, nil)
	before := map[string]*resolver.Endpoint{}
	for _, e := range w.known(addr(1), addr(2)).Endpoints {
		before[e.Addr] = e
	}
	s.Set(service, addr(2), addr(3))
	for _, e := range w.known(addr(2), addr(3)).Endpoints {
		if old := before[e.Addr]; old != nil && old != e {
			t.Errorf("endpoint %s did not change and has a new pointer", e.Addr)
		}
	}
	again := begin(t, s, service, nil).known(addr(2), addr(3))
	for i, e := range w.known(addr(2), addr(3)).Endpoints {
		if again.Endpoints[i] != e {
			t.Errorf("endpoint %s has another pointer for a second watch", e.Addr)
		}
	}
}

func slowReader(t *testing.T, s Subject) {
	const changes = 10
	s.Set(service, addr(1))
	gate := make(chan struct{})
	slow := begin(t, s, service, gate)
	opened := false
	open := func() {
		if !opened {
			opened = true
			close(gate)
		}
	}
	defer open()
	slow.until("delivered", func(*resolver.Snapshot) bool { return true })
	fast := begin(t, s, service, nil)
	fast.known(addr(1))
	for i := 2; i <= changes; i++ {
		s.Set(service, addr(i))
		fast.known(addr(i))
	}
	slow.mu.Lock()
	if slow.count != 1 {
		t.Errorf("%d deliveries while the first one runs, want 1", slow.count)
	}
	slow.mu.Unlock()
	open()
	slow.known(addr(changes))
	slow.mu.Lock()
	defer slow.mu.Unlock()
	// One for the newest; one more may have been on its way.
	if slow.count > 3 {
		t.Errorf("%d deliveries to a reader that missed %d changes, want at most 3", slow.count, changes-1)
	}
}

func afterReturn(t *testing.T, s Subject) {
	s.Set(service, addr(1))
	first, second := begin(t, s, service, nil), begin(t, s, service, nil)
	first.known(addr(1))
	second.known(addr(1))
	first.end()
	if !errors.Is(first.err, context.Canceled) {
		t.Errorf("Watch returned %v, want its context's error", first.err)
	}
	s.Set(service, addr(2))
	second.known(addr(2)) // first would complain now
}

func endedContext(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Catalog.Watch(ctx, service, func(*resolver.Snapshot) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v, want its context's error", err)
	}
}

func badNames(t *testing.T, s Subject) {
	for _, name := range []string{"", "a b", "../x", "a/b", "a?token=x", "-a", "a\n", strings.Repeat("a", resolver.MaxServiceName+1)} {
		err := s.Catalog.Watch(t.Context(), name, func(*resolver.Snapshot) { t.Errorf("a delivery for %q", name) })
		if err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("Watch of %.20q returned %v, want an error about the name", name, err)
		}
	}
}

func manyWatchers(t *testing.T, s Subject) {
	s.Set(service, addr(1))
	watches := make([]*watch, 100)
	for i := range watches {
		watches[i] = begin(t, s, service, nil)
	}
	for _, w := range watches {
		w.known(addr(1))
	}
	if s.Watches != nil {
		if n := s.Watches(); n != 1 {
			t.Errorf("%d upstream watches for %d watches of one service, want 1", n, len(watches))
		}
	}
	s.Set(service, addr(1), addr(2))
	for _, w := range watches {
		w.known(addr(1), addr(2))
	}
}

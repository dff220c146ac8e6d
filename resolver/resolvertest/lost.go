package resolvertest

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

func staleThenKnown(t *testing.T, s Subject) {
	if s.Break == nil {
		return
	}
	s.Set(service, addr(1), addr(2))
	w := begin(t, s, service, nil)
	before := w.known(addr(1), addr(2))
	s.Break()
	isStale := func(s *resolver.Snapshot) bool { return s.State == resolver.Stale }
	stale := w.until("stale", isStale)
	if !slices.Equal(stale.Endpoints, before.Endpoints) {
		t.Errorf("the stale list is %s, want the same endpoints as before", describe(stale))
	}
	late := begin(t, s, service, nil).until("stale", isStale)
	if !slices.Equal(late.Endpoints, before.Endpoints) {
		t.Errorf("a watch begun during the outage has %s, want the same endpoints as before", describe(late))
	}
	s.Heal()
	after := w.known(addr(1), addr(2))
	if !slices.Equal(after.Endpoints, before.Endpoints) {
		t.Error("unchanged endpoints have new pointers after the outage")
	}
	s.Set(service, addr(3))
	w.known(addr(3))
}

func unknownThenKnown(t *testing.T, s Subject) {
	if s.Break == nil {
		return
	}
	s.Break()
	w := begin(t, s, service, nil)
	w.until("unknown with a reason", func(s *resolver.Snapshot) bool {
		return s.State == resolver.Unknown && s.Reason != nil
	})
	s.Heal()
	s.Set(service, addr(1))
	w.known(addr(1))
}

func closeEnds(t *testing.T, s Subject) {
	if s.Close == nil {
		return
	}
	s.Set(service, addr(1))
	a, b := begin(t, s, service, nil), begin(t, s, "inventory", nil)
	a.known(addr(1))
	b.until("delivered", func(*resolver.Snapshot) bool { return true })
	s.Close()
	s.Close()
	for _, w := range []*watch{a, b} {
		w.wait("Close")
		if w.returned && w.err == nil {
			t.Errorf("Watch of %q returned nil after Close, want an error", w.service)
		}
	}
	if err := s.Catalog.Watch(t.Context(), service, func(*resolver.Snapshot) {}); err == nil {
		t.Error("Watch of a closed catalog returned nil, want an error")
	}
}

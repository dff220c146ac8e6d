package chain

import (
	"sync"

	"github.com/weft-mesh/weft/resolver"
)

// Selection is what a filter leaves of a snapshot.
type Selection struct {
	// Snapshot has the endpoints that are left.
	*resolver.Snapshot
	// Outside counts the endpoints of the subset that are where they may not be.
	Outside int
}

// Selector filters the snapshots of one target, one after the other, and keeps what
// it found: an endpoint is looked at once, and the same snapshot gives the same
// selection. It is safe for concurrent use. The zero value lets everything through.
type Selector struct {
	filter *Filter

	mu    sync.Mutex
	last  *resolver.Snapshot
	out   Selection
	known map[*resolver.Endpoint]found
}

// found is what becomes of an endpoint.
type found struct {
	as      *resolver.Endpoint // nil: it is left out
	outside bool
}

// NewSelector filters by f.
func NewSelector(f *Filter) *Selector { return &Selector{filter: f} }

// Select is what belongs to the subset. Where only passing instances count, one
// with a warning stays, as a critical one: it takes no calls, and is capacity that
// is missing.
func (s *Selector) Select(snap *resolver.Snapshot) Selection {
	if snap == nil || s.filter == nil || s.filter.All() {
		return Selection{Snapshot: snap}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == snap {
		return s.out
	}
	known := make(map[*resolver.Endpoint]found, len(snap.Endpoints))
	left := make([]*resolver.Endpoint, 0, len(snap.Endpoints))
	outside, same := 0, true
	for _, e := range snap.Endpoints {
		f, ok := s.known[e]
		if !ok {
			f = s.filter.look(e)
		}
		known[e] = f
		if f.outside {
			outside++
		}
		if f.as != nil {
			left = append(left, f.as)
		}
		same = same && f.as == e
	}
	s.last, s.known, s.out = snap, known, Selection{snap, outside}
	if !same {
		out := *snap
		out.Endpoints = left
		s.out.Snapshot = &out
	}
	return s.out
}

func (f *Filter) look(e *resolver.Endpoint) found {
	switch {
	case !f.Match(e):
		return found{}
	case !f.Allowed(e):
		return found{outside: true}
	case f.passing && e.Health == resolver.Warning:
		c := *e
		c.Health = resolver.Critical
		return found{as: &c}
	}
	return found{as: e}
}

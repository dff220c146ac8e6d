package mesh

import (
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// mark is a filter that only the source of a service's endpoints can decide.
type mark struct {
	service, filter string
	sure            bool // that all sources decide it
}

func (x mark) of(y mark) bool { return x.service == y.service && x.filter == y.filter }

// marks asks the catalog for the marks that all routers need together.
type marks struct {
	catalog resolver.Catalog

	mu sync.Mutex
	by map[*router][]mark
}

// ask has the endpoints marked for a router, from now until a keep that lacks it. An
// error says that no source, or not each, can do that.
func (m *marks) ask(r *router, x mark) error {
	c, ok := m.catalog.(resolver.Marker)
	if !ok {
		return resolver.ErrNoMarks
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.by == nil {
		m.by = map[*router][]mark{}
	}
	if !slices.ContainsFunc(m.by[r], x.of) {
		m.by[r] = append(m.by[r], x)
	}
	return c.Mark(x.service, m.filters(x.service))
}

// keep ends what a router has asked for, but for some.
func (m *marks) keep(r *router, some []mark) {
	c, ok := m.catalog.(resolver.Marker)
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var ended []string
	left := m.by[r][:0]
	for _, x := range m.by[r] {
		if slices.ContainsFunc(some, x.of) {
			left = append(left, x)
		} else {
			ended = with(ended, x.service)
		}
	}
	delete(m.by, r)
	if len(left) > 0 {
		m.by[r] = left
	}
	for _, service := range ended {
		_ = c.Mark(service, m.filters(service)) // an error was told by ask
	}
}

// filters are all of a service.
func (m *marks) filters(service string) (all []string) {
	for _, list := range m.by {
		for _, x := range list {
			if x.service == service {
				all = with(all, x.filter)
			}
		}
	}
	slices.Sort(all)
	return all
}

// marked reports whether a snapshot can be shown to those who read the lanes of t: each
// source that answers has decided t's filters, or had its time to do so. Until then the
// lanes would lack endpoints that are theirs.
func (u *union) marked(s *resolver.Snapshot, t *routes) bool {
	if u.ripe == t || len(t.marks) == 0 {
		return true
	}
	if u.unripe != t {
		u.unripe, u.since = t, time.Now()
	}
	left := time.Until(u.since.Add(unionPatience))
	if left > 0 && undecided(s, t.marks) {
		time.AfterFunc(left, u.wake)
		return false
	}
	u.ripe, u.unripe = t, nil
	return true
}

// undecided reports whether a source that answers has endpoints and has not decided a
// filter about any of them: it decides about all at once.
func undecided(s *resolver.Snapshot, marks []mark) bool {
	type of struct {
		source string
		mark
	}
	waits := func(source string) bool {
		for i := range s.Sources {
			if st := &s.Sources[i]; st.Source == source {
				return st.State == resolver.Known && (st.Held == nil || st.Held.Reported > 0)
			}
		}
		return s.State == resolver.Known
	}
	decided := map[of]bool{}
	for _, ep := range s.Endpoints {
		for _, x := range marks {
			if !x.sure || x.service != ep.Service {
				continue
			}
			at := of{ep.ID.Source, x}
			if had := decided[at]; !had {
				_, decided[at] = ep.Marked(x.filter)
			}
		}
	}
	for at, yes := range decided {
		if !yes && waits(at.source) {
			return true
		}
	}
	return false
}

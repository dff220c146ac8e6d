package resolver

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxSkippedReasons bounds Snapshot.SkippedReasons of a merged snapshot.
const maxSkippedReasons = 8

var errNoAnswer = errors.New("resolver: no answer yet")

// merger makes merged snapshots of one service.
type merger struct {
	service string
	sources []Source
	started time.Time

	// The last union and what it was made of: while no list changed, it is used again.
	lists      [][]*Endpoint
	order      []int
	union      []*Endpoint
	duplicates int
	dupReasons []string
}

// merge makes the merged snapshot; parts[i] is the newest of source i, or nil.
func (m *merger) merge(parts []*Snapshot) *Snapshot {
	out := &Snapshot{Service: m.service, Sources: make([]SourceStatus, len(parts))}
	lists := make([][]*Endpoint, len(parts))
	order := make([]int, 0, len(parts)) // who wins a duplicate: Known before Stale, then as given
	var unknown, stale int
	var reasons []error
	for i, p := range parts {
		if p == nil {
			p = &Snapshot{}
		}
		st := SourceStatus{
			Source: m.sources[i].Name, State: p.State, AsOf: p.AsOf, StaleSince: p.StaleSince,
			Reason: p.Reason, Held: p.Held, Skipped: p.Skipped,
		}
		if p.State == Unknown {
			unknown++
		} else {
			lists[i], st.Endpoints = p.Endpoints, len(p.Endpoints)
			out.AsOf = earliest(out.AsOf, p.AsOf)
		}
		switch p.State {
		case Known:
			order = append(order, i)
		case Stale:
			stale++
			out.StaleSince = earliest(out.StaleSince, p.StaleSince)
		}
		if p.State != Known {
			reason := p.Reason
			if reason == nil {
				reason = errNoAnswer
			}
			reasons = append(reasons, fmt.Errorf("source %q is %s: %w", clip(st.Source), p.State, reason))
		}
		if out.Held == nil {
			out.Held = p.Held
		}
		out.Skipped += p.Skipped
		for _, r := range p.SkippedReasons {
			if len(out.SkippedReasons) < maxSkippedReasons {
				out.SkippedReasons = append(out.SkippedReasons, st.Source+": "+r)
			}
		}
		out.Sources[i] = st
	}
	for i, p := range parts {
		if p != nil && p.State == Stale {
			order = append(order, i)
		}
	}
	m.join(lists, order)
	out.Endpoints = m.union
	out.Skipped += m.duplicates
	out.SkippedReasons = append(out.SkippedReasons, m.dupReasons...)

	switch {
	case unknown == len(parts), unknown > 0 && len(out.Endpoints) == 0:
		out.State, out.AsOf, out.StaleSince, out.Endpoints = Unknown, time.Time{}, time.Time{}, nil
		if unknown == len(parts) && allUnanswered(parts) {
			reasons = nil // the start, not a failure
		}
	case unknown+stale > 0:
		out.State = Stale
		if unknown > 0 {
			out.StaleSince = earliest(out.StaleSince, m.started)
		}
	default:
		out.State = Known
	}
	out.Reason = errors.Join(reasons...)
	return out
}

// allUnanswered reports whether no source has given a reason for being Unknown.
func allUnanswered(parts []*Snapshot) bool {
	for _, p := range parts {
		if p != nil && p.Reason != nil {
			return false
		}
	}
	return true
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// join makes the sorted union of lists; of equal IDs the list that comes first
// in order wins.
func (m *merger) join(lists [][]*Endpoint, order []int) {
	if m.lists != nil && slices.Equal(order, m.order) && slices.EqualFunc(lists, m.lists, sameList) {
		return
	}
	m.lists, m.order, m.duplicates, m.dupReasons = lists, order, 0, nil
	total := 0
	rest := make([][]*Endpoint, 0, len(order))
	for _, i := range order {
		if len(lists[i]) > 0 {
			rest = append(rest, lists[i])
			total += len(lists[i])
		}
	}
	m.union = make([]*Endpoint, 0, total)
	for len(rest) > 0 {
		// The list with the smallest head gives a run: all it has below the other heads.
		first, bound := 0, -1
		for i := 1; i < len(rest); i++ {
			if rest[i][0].ID.Compare(rest[first][0].ID) < 0 {
				first, bound = i, first
			} else if bound < 0 || rest[i][0].ID.Compare(rest[bound][0].ID) < 0 {
				bound = i
			}
		}
		n := len(rest[first])
		if bound >= 0 {
			n = m.run(rest, first, rest[bound][0].ID)
		}
		m.union = append(m.union, rest[first][:n]...)
		head := rest[first][n-1].ID
		rest[first] = rest[first][n:]
		m.drop(rest, head)
		rest = slices.DeleteFunc(rest, func(l []*Endpoint) bool { return len(l) == 0 })
	}
}

// run counts how many endpoints of rest[first] come before bound, at least one.
func (m *merger) run(rest [][]*Endpoint, first int, bound ID) int {
	list := rest[first]
	if list[len(list)-1].ID.Compare(bound) < 0 {
		return len(list) // the usual case: sources do not interleave
	}
	n := 1
	for n < len(list) && list[n].ID.Compare(bound) < 0 {
		n++
	}
	return n
}

// drop removes the entries with the ID that has just been taken.
func (m *merger) drop(rest [][]*Endpoint, id ID) {
	for i, l := range rest {
		for len(l) > 0 && l[0].ID == id {
			l = l[1:]
			m.duplicates++
			if len(m.dupReasons) < maxSkippedReasons {
				m.dupReasons = append(m.dupReasons, fmt.Sprintf("endpoint %q is listed by more than one source", clip(id.String())))
			}
		}
		rest[i] = l
	}
}

// sameList reports whether two immutable lists are the same one.
func sameList(a, b []*Endpoint) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

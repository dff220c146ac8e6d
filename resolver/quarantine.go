package resolver

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// minMassRemoval is the smallest number of endpoints whose removal at once can be
// a mass removal: two of three may well leave in a rolling restart.
const minMassRemoval = 3

var errNotConfirmed = errors.New("resolver: the source has not confirmed the list since the watch began")

// keeper decides which endpoints of a service are believed. It has no clock and
// starts nothing: time comes as an argument, and next says when to call again.
type keeper struct {
	service  string
	hold     time.Duration // 0: off
	fraction float64
	dead     func(ID) bool // nil: none is proven dead
	event    func(name string, args ...any)

	known bool        // kept means something
	kept  []*Endpoint // what is believed, sorted
	asOf  time.Time   // when the source last confirmed kept
	since time.Time   // since when nothing confirms kept; zero while the source does

	up    *Snapshot // the newest of the source; nil: none in this watch
	held  *Held
	union merger
}

// restore takes a list from disk as what was known at asOf.
func (k *keeper) restore(list []*Endpoint, asOf time.Time) {
	k.known, k.kept, k.asOf, k.since = true, list, asOf, asOf
}

// pause forgets the source but not the list: its watch has ended.
func (k *keeper) pause(now time.Time) {
	if k.known && k.since.IsZero() {
		k.since = now
	}
	k.up, k.held = nil, nil
}

// take notes what the source says.
func (k *keeper) take(up *Snapshot, now time.Time) {
	before := k.state()
	if up.State == Unknown && up.Reason != nil && !k.known && (k.up == nil || k.up.Reason == nil) {
		k.event("registry.lost", "reason", up.Reason)
	}
	k.up = up
	switch {
	case up.State == Known:
		k.judge(now)
		k.since = time.Time{}
	case up.State == Stale && (!k.known || up.AsOf.After(k.asOf) && k.held == nil):
		k.judge(now) // an answer that was overtaken by the loss of its source
		k.since = up.StaleSince
	case up.State == Stale && k.since.IsZero():
		k.since = up.StaleSince
	case k.known && k.since.IsZero():
		k.since = now
	}
	if after := k.state(); after != before {
		switch {
		case after == Known:
			k.event("registry.connected", "endpoints", len(k.kept))
		case after == Stale:
			k.event("registry.stale", "endpoints", len(k.kept), "reason", up.Reason)
		}
	}
}

// judge believes the newest answer, or holds it.
func (k *keeper) judge(now time.Time) {
	reason := ""
	if k.known && k.hold > 0 {
		reason = suspicious(len(k.kept), len(k.up.Endpoints), k.fraction)
	}
	switch {
	case reason == "":
		if k.held != nil {
			k.event("registry.hold_ended", "why", "the source lists the service again", "endpoints", len(k.up.Endpoints))
		}
		k.believe()
	case k.held == nil:
		k.held = &Held{Since: now, Until: now.Add(k.hold), Reported: len(k.up.Endpoints), Kept: len(k.kept), Reason: reason}
		name := "registry.mass_removal_held"
		if len(k.up.Endpoints) == 0 {
			name = "registry.empty_held"
		}
		k.event(name, "reported", k.held.Reported, "kept", k.held.Kept, "until", k.held.Until)
		k.tick(now)
	case !now.Before(k.held.Until):
		k.event("registry.hold_ended", "why", "the source kept saying so", "endpoints", len(k.up.Endpoints))
		k.believe()
	default:
		h := *k.held
		h.Reported, h.Kept, h.Reason = len(k.up.Endpoints), len(k.kept), reason
		k.held = &h
	}
}

func (k *keeper) believe() {
	k.known, k.kept, k.asOf, k.held = true, k.up.Endpoints, k.up.AsOf, nil
}

// suspicious says why an answer of n endpoints after one of kept looks like an
// accident of the source, or "". Endpoints that were replaced by as many others
// are no loss.
func suspicious(kept, n int, fraction float64) string {
	lost := kept - n
	switch {
	case n == 0 && kept > 0:
		return fmt.Sprintf("empty: all %d endpoints are gone", kept)
	case lost >= minMassRemoval && float64(lost) > fraction*float64(kept):
		return fmt.Sprintf("mass removal: %d of %d endpoints are gone", lost, kept)
	}
	return ""
}

// tick drops kept endpoints that are proven dead, and ends a hold that is over.
// It reports whether anything changed.
func (k *keeper) tick(now time.Time) bool {
	if k.held == nil || k.up.State != Known {
		return false
	}
	before := len(k.kept)
	if k.dead != nil {
		k.kept = slices.DeleteFunc(slices.Clone(k.kept), func(e *Endpoint) bool {
			_, listed := slices.BinarySearchFunc(k.up.Endpoints, e.ID, func(e *Endpoint, id ID) int { return e.ID.Compare(id) })
			return !listed && k.dead(e.ID)
		})
	}
	switch {
	case suspicious(len(k.kept), len(k.up.Endpoints), k.fraction) == "":
		k.event("registry.hold_ended", "why", "the missing endpoints are proven dead", "endpoints", len(k.up.Endpoints))
		k.believe()
		return true
	case !now.Before(k.held.Until):
		k.event("registry.hold_ended", "why", "the source kept saying so", "endpoints", len(k.up.Endpoints))
		k.believe()
		return true
	case len(k.kept) != before:
		h := *k.held
		h.Kept = len(k.kept)
		k.held = &h
		return true
	}
	return false
}

// evidenceEvery is how often the dead are counted while a change is held.
const evidenceEvery = time.Second

// next is how long until tick has something to do; ok is false for never.
func (k *keeper) next(now time.Time) (d time.Duration, ok bool) {
	if k.held == nil || k.up.State != Known {
		return 0, false
	}
	d = k.held.Until.Sub(now)
	if k.dead != nil {
		d = min(d, evidenceEvery)
	}
	return max(d, 0), true
}

func (k *keeper) state() State {
	switch {
	case !k.known:
		return Unknown
	case k.up != nil && k.up.State == Known:
		return Known
	}
	return Stale
}

// snapshot is what readers get.
func (k *keeper) snapshot() *Snapshot {
	s := &Snapshot{Service: k.service, State: k.state()}
	if k.up != nil {
		s.Reason, s.Skipped, s.SkippedReasons, s.Held, s.Sources = k.up.Reason, k.up.Skipped, k.up.SkippedReasons, k.up.Held, k.up.Sources
	}
	if s.State == Unknown {
		return s
	}
	s.Endpoints, s.AsOf = k.kept, k.asOf
	if s.State == Stale {
		s.StaleSince = k.since
		if s.Reason == nil {
			s.Reason = errNotConfirmed
		}
	}
	if k.held != nil {
		// New endpoints and new facts are taken at once; only removals wait.
		s.Held = k.held
		k.union.join([][]*Endpoint{k.up.Endpoints, k.kept}, []int{0, 1})
		s.Endpoints = k.union.union
	}
	return s
}

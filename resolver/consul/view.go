package consul

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// view is what is known of one service, as its readers see it. Publishing
// happens under its lock, so that snapshots come in order; publish must not block.
type view struct {
	service string
	trust   *trust
	log     *slog.Logger
	publish func(*resolver.Snapshot)

	mu    sync.Mutex
	list  *list // nil: never known
	snap  *resolver.Snapshot
	marks []marker                   // what endpoints are marked by
	made  map[string]*resolver.Marks // by outcome
}

func newView(service string, t *trust, log *slog.Logger, publish func(*resolver.Snapshot)) *view {
	return &view{service: service, trust: t, log: log, publish: publish}
}

// start publishes that nothing is known yet.
func (v *view) start() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.emit(&resolver.Snapshot{Service: v.service})
}

// known reports whether there is a list.
func (v *view) known() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.list != nil
}

// count is the number of endpoints of the list.
func (v *view) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.snap.Endpoints)
}

// apply replaces the list. A reason makes it Stale since then.
func (v *view) apply(l *list, since time.Time, reason error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.list
	v.list = l
	if len(v.marks) == 0 {
		l.forget()
	}
	s := &resolver.Snapshot{Service: v.service, State: resolver.Known, AsOf: time.Now(), Skipped: l.skipped, SkippedReasons: l.reasons}
	if reason != nil {
		s.State, s.Reason, s.StaleSince, s.AsOf = resolver.Stale, reason, since, since
		if v.snap.State == resolver.Stale {
			s.StaleSince = v.snap.StaleSince
		}
	}
	s.Endpoints = v.build()
	if old == nil || !slices.Equal(old.reasons, l.reasons) {
		for _, r := range l.reasons {
			v.log.Warn("endpoints.malformed", "entry", r, "skipped", l.skipped)
		}
	}
	if old == nil || !sameSlice(s.Endpoints, v.snap.Endpoints) {
		v.log.Info("endpoints.updated", "endpoints", len(s.Endpoints), "before", len(v.snap.Endpoints))
	}
	v.emit(s)
}

// confirm says that the source stands by the list.
func (v *view) confirm() {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := *v.snap
	s.State, s.AsOf, s.StaleSince, s.Reason = resolver.Known, time.Now(), time.Time{}, nil
	v.emit(&s)
}

// lost keeps the list as Stale, or says why there is none.
func (v *view) lost(reason error, since time.Time, level slog.Level) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := *v.snap
	if s.Reason != nil && s.Reason.Error() == reason.Error() {
		return
	}
	s.Reason = reason
	if v.list != nil && s.State != resolver.Stale {
		s.State, s.StaleSince = resolver.Stale, since
		v.log.Log(context.Background(), level, "registry.stale", "endpoints", len(s.Endpoints), "error", reason)
	} else if v.list == nil {
		v.log.Log(context.Background(), level, "registry.unknown", "error", reason)
	}
	if errors.Is(reason, ErrACL) {
		v.log.Warn("registry.acl_filtered", "error", reason)
	}
	v.emit(&s)
}

// retrust rebuilds the identities.
func (v *view) retrust() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.list == nil {
		return
	}
	s := *v.snap
	s.Endpoints = v.build()
	v.emit(&s)
}

func (v *view) emit(s *resolver.Snapshot) {
	v.snap = s
	v.publish(s)
}

// build makes the endpoints of the list. It reuses each that did not change,
// and the slice if none did.
func (v *view) build() []*resolver.Endpoint {
	var old []*resolver.Endpoint
	if v.snap != nil {
		old = v.snap.Endpoints
	}
	domain, _ := v.trust.get()
	decided := v.list.records >= need(v.marks)
	eps := make([]*resolver.Endpoint, len(v.list.instances))
	for i, j := 0, 0; i < len(eps); i++ {
		in := &v.list.instances[i]
		ep := in.Endpoint
		if in.path != "" && domain != "" {
			ep.SPIFFEID = "spiffe://" + domain + in.path
		}
		for j < len(old) && old[j].ID.Compare(ep.ID) < 0 { // both are sorted
			j++
		}
		switch {
		case decided:
			ep.Marks = v.marksOf(in.record)
		case j < len(old) && old[j].ID == ep.ID: // until the list is read for the new filters
			ep.Marks = old[j].Marks
		}
		if j < len(old) && old[j].Equal(&ep) {
			eps[i] = old[j]
		} else {
			eps[i] = &ep
		}
	}
	if len(old) > 0 && slices.Equal(eps, old) {
		return old
	}
	return eps
}

func sameSlice(a, b []*resolver.Endpoint) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

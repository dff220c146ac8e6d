package mesh

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// routed is the catalog of a mesh with chains: the endpoints of a service are those
// of all services that its chain leads to.
type routed struct {
	resolver.Catalog
	d *destinations
}

// routed adds the chains to a catalog, if there are any.
func (d *destinations) routed(c resolver.Catalog) resolver.Catalog {
	if d.route == nil {
		return c
	}
	return routed{c, d}
}

// Watch implements resolver.Catalog. Each change of the chain is a delivery too, so
// that whoever reads the lanes then reads the new ones.
func (c routed) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	r := c.d.of(service).router
	if r == nil || resolver.CheckService(service) != nil {
		return c.Catalog.Watch(ctx, service, deliver)
	}
	defer r.hold()()
	deliver(&resolver.Snapshot{Service: service})
	u := union{catalog: c.Catalog, service: service, parts: map[string]*part{}, dirty: make(chan struct{}, 1)}
	defer u.close()
	for {
		t, err := r.current(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if t != r.table.Load() {
			continue // it changed before changed was read
		}
		u.follow(ctx, t.services)
		if s := u.snapshot(); s != nil && u.marked(s, t) {
			deliver(s)
		}
		select {
		case <-changed:
		case <-u.dirty:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unionPatience is how long the endpoints of one service wait for those of another.
const unionPatience = 2 * time.Second

// union watches several services as one.
type union struct {
	catalog resolver.Catalog
	service string
	dirty   chan struct{}

	mu    sync.Mutex
	parts map[string]*part
	past  []*part // that end
	last  *resolver.Snapshot
	of    []*resolver.Snapshot // that last was made of

	// Of marked.
	ripe, unripe *routes
	since        time.Time
}

type part struct {
	began  time.Time
	cancel context.CancelFunc
	done   chan struct{}
	snap   *resolver.Snapshot
}

// follow watches these services and no others.
func (u *union) follow(ctx context.Context, services []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, p := range u.parts {
		if !slices.Contains(services, name) {
			p.cancel()
			u.past = append(u.past, p)
			delete(u.parts, name)
		}
	}
	for _, name := range services {
		if u.parts[name] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		p := &part{began: time.Now(), cancel: cancel, done: make(chan struct{})}
		u.parts[name] = p
		go func() {
			defer close(p.done)
			_ = u.catalog.Watch(ctx, name, func(s *resolver.Snapshot) {
				u.mu.Lock()
				p.snap = s
				u.mu.Unlock()
				u.wake()
			})
		}()
	}
}

func (u *union) wake() {
	select {
	case u.dirty <- struct{}{}:
	default:
	}
}

func (u *union) close() {
	u.mu.Lock()
	parts := u.past
	for _, p := range u.parts {
		p.cancel()
		parts = append(parts, p)
	}
	u.parts = nil
	u.mu.Unlock()
	for _, p := range parts {
		<-p.done
	}
}

// snapshot is all endpoints, or nil while services are waited for.
func (u *union) snapshot() *resolver.Snapshot {
	u.mu.Lock()
	defer u.mu.Unlock()
	var of []*resolver.Snapshot
	for _, p := range u.parts {
		if p.snap == nil || p.snap.State == resolver.Unknown && p.snap.Reason == nil {
			if left := time.Until(p.began.Add(unionPatience)); left > 0 {
				time.AfterFunc(left, u.wake)
				return nil
			}
			continue
		}
		of = append(of, p.snap)
	}
	slices.SortFunc(of, func(a, b *resolver.Snapshot) int { return cmp.Compare(a.Service, b.Service) })
	if len(of) == 1 && of[0].Service == u.service {
		return of[0]
	}
	if u.last == nil || !slices.Equal(u.of, of) {
		u.of, u.last = of, join(u.service, of)
	}
	return u.last
}

// join makes one snapshot of several: known if all are, unknown if all are.
func join(service string, of []*resolver.Snapshot) *resolver.Snapshot {
	s := &resolver.Snapshot{Service: service}
	if len(of) == 0 {
		return s
	}
	s.State = resolver.Known
	unknown := 0
	for _, x := range of {
		s.Endpoints = append(s.Endpoints, x.Endpoints...)
		s.Skipped += x.Skipped
		s.SkippedReasons = append(s.SkippedReasons, x.SkippedReasons...)
		if s.AsOf.IsZero() || !x.AsOf.IsZero() && x.AsOf.Before(s.AsOf) {
			s.AsOf = x.AsOf
		}
		if x.State == resolver.Unknown {
			unknown++
		}
		if x.State != resolver.Known {
			s.State = resolver.Stale
			if s.StaleSince.IsZero() || x.StaleSince.Before(s.StaleSince) {
				s.StaleSince = x.StaleSince
			}
			if s.Reason == nil {
				s.Reason = x.Reason
			}
		}
		if s.Held == nil {
			s.Held = x.Held
		}
		if s.Sources == nil {
			s.Sources = x.Sources
		}
	}
	if unknown == len(of) {
		s.State = resolver.Unknown
	}
	byID := func(a, b *resolver.Endpoint) int {
		return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.Service, b.Service))
	}
	slices.SortFunc(s.Endpoints, byID)
	s.Endpoints = slices.CompactFunc(s.Endpoints, func(a, b *resolver.Endpoint) bool { return a.ID == b.ID && a.Service == b.Service })
	clash := false
	for i := len(s.Endpoints) - 1; i > 0; i-- { // catalogs other than Consul name instances within a service
		if s.Endpoints[i].ID == s.Endpoints[i-1].ID {
			ep := *s.Endpoints[i]
			ep.ID.Instance += "@" + ep.Service
			s.Endpoints[i], clash = &ep, true
		}
	}
	if clash {
		slices.SortFunc(s.Endpoints, byID)
	}
	return s
}

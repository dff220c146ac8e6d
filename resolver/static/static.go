package static

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// Config describes a catalog in memory. The zero value works.
type Config struct {
	// Name is the name of the source, the cloud: ID.Source of endpoints that do
	// not give one, and the cloud of those that do not name one. Empty: "static".
	Name string
	// SPIFFEID is the identity expected of a service's endpoints that do not name
	// one. nil: none is expected by the catalog.
	SPIFFEID func(service string) string
}

// Catalog is a catalog in memory. It implements [resolver.Catalog] and
// [resolver.Registrar], is safe for concurrent use, and starts no goroutine.
type Catalog struct {
	cfg Config

	mu       sync.Mutex
	services map[string]*entry
	lost     error // why the source is lost; nil: it is not
	lostAt   time.Time
	asOf     time.Time // of the last file load; zero for a catalog in memory
}

// entry is one service. snap is replaced as a whole, never changed.
type entry struct {
	set            []*resolver.Endpoint
	registered     map[resolver.ID]*resolver.Endpoint
	skipped        int
	skippedReasons []string

	snap    *resolver.Snapshot
	changed chan struct{} // closed and replaced with snap
	readers int
}

// New makes an empty catalog: every service is known to have no endpoints.
func New(cfg Config) *Catalog {
	if cfg.Name == "" {
		cfg.Name = "static"
	}
	return &Catalog{cfg: cfg, services: map[string]*entry{}}
}

// Watch implements [resolver.Catalog].
func (c *Catalog) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	if err := resolver.CheckService(service); err != nil {
		return err
	}
	c.mu.Lock()
	e := c.entryLocked(service)
	e.readers++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		e.readers--
		c.forgetLocked(service, e)
		c.mu.Unlock()
	}()
	for {
		c.mu.Lock()
		snap, changed := e.snap, e.changed
		c.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		deliver(snap)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Set replaces the endpoints of a service, except those that Register added. Of
// each endpoint only Addr is required: ID.Instance defaults to the address, the
// weight to 1, source and cloud to Config.Name. If one of them makes no sense,
// Set changes nothing and says which and why.
func (c *Catalog) Set(service string, endpoints ...resolver.Endpoint) error {
	if err := resolver.CheckService(service); err != nil {
		return err
	}
	set, err := c.normalizeAll(service, endpoints)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entryLocked(service)
	e.set, e.skipped, e.skippedReasons = set, 0, nil
	c.publishLocked(service, e)
	c.forgetLocked(service, e)
	return nil
}

// Remove takes away all endpoints of a service, registered ones too. The
// service is then known to have no endpoints.
func (c *Catalog) Remove(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.services[service]
	if e == nil {
		return
	}
	e.set, e.registered, e.skipped, e.skippedReasons = nil, nil, 0, nil
	c.publishLocked(service, e)
	c.forgetLocked(service, e)
}

// Lose makes the catalog behave as a source that cannot be reached: what was
// known becomes Stale with reason, the rest is Unknown, and changes are not seen
// until Restore. It is for tests and drills.
func (c *Catalog) Lose(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost == nil {
		c.lostAt = time.Now()
	}
	c.lost = reason
	for name, e := range c.services {
		c.publishLocked(name, e)
	}
}

// Restore ends what Lose began.
func (c *Catalog) Restore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restoreLocked()
}

func (c *Catalog) restoreLocked() {
	c.lost, c.lostAt = nil, time.Time{}
	for name, e := range c.services {
		c.publishLocked(name, e)
		c.forgetLocked(name, e)
	}
}

// Services are the names that have endpoints, sorted.
func (c *Catalog) Services() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name, e := range c.services {
		if len(e.set)+len(e.registered) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *Catalog) entryLocked(service string) *entry {
	e := c.services[service]
	if e == nil {
		e = &entry{changed: make(chan struct{})}
		c.services[service] = e
		c.publishLocked(service, e)
	}
	return e
}

// forgetLocked drops an entry that says nothing and that nobody reads, so that
// watching many wrong names leaves nothing behind.
func (c *Catalog) forgetLocked(service string, e *entry) {
	if e.readers == 0 && c.lost == nil && len(e.set)+len(e.registered)+e.skipped == 0 {
		delete(c.services, service)
	}
}

// publishLocked makes the entry's snapshot from its content, and wakes its
// readers if it differs from the last one.
func (c *Catalog) publishLocked(service string, e *entry) {
	old := e.snap
	next := &resolver.Snapshot{Service: service}
	switch {
	case c.lost != nil && (old == nil || old.State == resolver.Unknown):
		next.Reason = c.lost
	case c.lost != nil:
		*next = *old
		next.State, next.StaleSince, next.Reason = resolver.Stale, c.lostAt, c.lost
	default:
		next.State, next.AsOf = resolver.Known, c.asOf
		if next.AsOf.IsZero() {
			next.AsOf = time.Now()
		}
		next.Endpoints = e.endpoints(old)
		next.Skipped, next.SkippedReasons = e.skipped, e.skippedReasons
	}
	if old != nil && same(old, next) {
		return
	}
	e.snap = next
	close(e.changed)
	e.changed = make(chan struct{})
}

// endpoints is the union of what was set and what was registered; a
// registration wins over a set endpoint of the same ID. Unchanged endpoints keep
// their pointer.
func (e *entry) endpoints(old *resolver.Snapshot) []*resolver.Endpoint {
	list := make([]*resolver.Endpoint, 0, len(e.set)+len(e.registered))
	for _, ep := range e.set {
		if e.registered[ep.ID] == nil {
			list = append(list, ep)
		}
	}
	for _, ep := range e.registered {
		list = append(list, ep)
	}
	slices.SortFunc(list, func(a, b *resolver.Endpoint) int { return a.ID.Compare(b.ID) })
	if old == nil {
		return list
	}
	prev := old.Endpoints
	for i, ep := range list {
		for len(prev) > 0 && prev[0].ID.Compare(ep.ID) < 0 {
			prev = prev[1:]
		}
		if len(prev) > 0 && prev[0].Equal(ep) {
			list[i] = prev[0]
		}
	}
	return list
}

func same(a, b *resolver.Snapshot) bool {
	return a.State == b.State && a.Reason == b.Reason && a.StaleSince.Equal(b.StaleSince) &&
		a.Skipped == b.Skipped && slices.Equal(a.SkippedReasons, b.SkippedReasons) &&
		slices.Equal(a.Endpoints, b.Endpoints)
}

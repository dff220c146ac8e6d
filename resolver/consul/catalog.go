package consul

import (
	"context"
	"sync"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/internal/hub"
)

// Catalog is one cloud found in Consul. It implements [resolver.Catalog],
// [resolver.Registrar] and [resolver.Marker] and is safe for concurrent use.
type Catalog struct {
	cfg    resolved
	client *client
	hub    *hub.Hub[*resolver.Snapshot]
	trust  *trust
	source *source

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // trust and heartbeats

	mu      sync.Mutex
	started bool // the trust domain is followed
	closed  bool
	watches map[*watch]struct{}
	marks   map[string][]marker // by service
}

// New makes a catalog. It reads the TLS files and opens no connection; the first
// Watch or Register does. Close it when done.
func New(cfg Config) (*Catalog, error) {
	r, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	cl, err := newClient(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Catalog{
		cfg: r, client: cl, trust: newTrust(cl), source: newSource(r.Logger, cl.where()),
		ctx: ctx, cancel: cancel, watches: map[*watch]struct{}{}, marks: map[string][]marker{},
	}
	c.hub = hub.New(r.Linger, c.follow)
	return c, nil
}

// Name is the source's name.
func (c *Catalog) Name() string { return c.cfg.Name }

// Watch implements [resolver.Catalog]. All watches of a service share one query.
func (c *Catalog) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	if err := resolver.CheckService(service); err != nil {
		return err
	}
	return c.hub.Watch(ctx, service, deliver)
}

// Close ends all watches and registrations' heartbeats and waits for them no
// longer than ctx. It does not deregister: an instance that is still registered
// turns critical after Config.TTL. It is idempotent.
func (c *Catalog) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	err := c.hub.CloseWithin(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		if err == nil {
			err = ctx.Err()
		}
	}
	c.client.close()
	return err
}

// goWhileOpen runs f in a goroutine that Close waits for, unless closed.
func (c *Catalog) goWhileOpen(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// follow is the upstream of one service.
func (c *Catalog) follow(ctx context.Context, service string, publish func(*resolver.Snapshot)) {
	w := newWatch(c, service, publish)
	c.mu.Lock()
	c.watches[w] = struct{}{}
	w.view.marks = c.marks[service]
	start := !c.started && !c.closed
	if start {
		c.started = true
		c.wg.Go(func() { c.trust.run(c.ctx, c.retrust) })
	}
	c.mu.Unlock()
	c.client.slots.watches.Add(1)
	defer func() {
		c.client.slots.watches.Add(-1)
		c.mu.Lock()
		delete(c.watches, w)
		c.mu.Unlock()
	}()
	w.run(ctx)
}

// retrust gives all endpoints the identity of the new trust domain.
func (c *Catalog) retrust() {
	domain, _ := c.trust.get()
	c.cfg.Logger.Info("trust_domain.updated", "trust_domain", domain)
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.watches {
		w.retrust()
	}
}

package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// service is one service of a Transport: a watch, a Balancer, a pool per endpoint.
type service struct {
	t    *Transport
	key  serviceKey
	name string // of key
	lb   *Balancer
	gate gate // requests, bodies included

	ctx     context.Context // ends with the service
	cancel  context.CancelFunc
	drained chan struct{} // closed when the gate is shut and empty
	ended   chan struct{} // closed when nothing of the service runs
	once    sync.Once

	wake     atomic.Pointer[chan struct{}] // closed at the next publish
	reason   atomic.Pointer[error]         // why the catalog cannot answer
	lastUsed atomic.Int64

	mu      sync.Mutex
	release *time.Timer
	pools   map[*pool]struct{}
}

func newService(t *Transport, k serviceKey) (*service, error) {
	s := &service{
		t: t, key: k, name: k.name, pools: map[*pool]struct{}{},
		drained: make(chan struct{}), ended: make(chan struct{}),
	}
	ch := make(chan struct{})
	s.wake.Store(&ch)
	cfg, ok := t.cfg.balancerOf(k)
	if !ok {
		return nil, fmt.Errorf("balancer: service %q has no lane %q", k.name, clip(k.lane))
	}
	if cfg.Store == nil {
		cfg.Store = t.cfg.Balancer.Store
	}
	lb, err := New(cfg, Connector{Connect: s.connect, Published: s.published})
	if err != nil {
		return nil, fmt.Errorf("balancer: service %q: %w", k.name, err)
	}
	s.lb = lb
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.lastUsed.Store(Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release = time.AfterFunc(t.cfg.ReleaseAfter, s.releaseIdle)
	t.wg.Go(s.watch)
	return s, nil
}

// balancerOf is the Config of a service or lane. false: there is no such lane.
func (c *TransportConfig) balancerOf(k serviceKey) (Config, bool) {
	switch {
	case k.lane != "":
		if c.LaneFor == nil {
			return Config{}, false
		}
		return c.LaneFor(k.name, k.lane)
	case c.BalancerFor != nil:
		return c.BalancerFor(k.name), true
	}
	return c.Balancer, true
}

// connectTimeout bounds the next attempt to connect an endpoint.
func (s *service) connectTimeout() time.Duration {
	d := s.lb.cfg.ConnectTimeout
	if now, ok := s.t.cfg.balancerOf(s.key); ok && now.ConnectTimeout >= 0 { // else the lane has ended, and a call from before needs it
		d = now.ConnectTimeout
	}
	return cmp.Or(d, s.t.cfg.ConnectTimeout)
}

// watch runs until the service ends.
func (s *service) watch() {
	err := s.t.cfg.Catalog.Watch(s.ctx, s.name, func(snap *resolver.Snapshot) {
		s.reason.Store(&snap.Reason)
		s.lb.Update(snap)
	})
	if s.ctx.Err() == nil {
		if err == nil {
			err = errors.New("the catalog ended the watch")
		}
		s.reason.Store(&err)
		s.published()
	}
}

// published wakes the requests that wait.
func (s *service) published() {
	ch := make(chan struct{})
	close(*s.wake.Swap(&ch))
}

func (s *service) leave() { s.left(Now()) }

// left is leave for who has read the clock.
func (s *service) left(now int64) {
	s.lastUsed.Store(now)
	if s.gate.leave() {
		close(s.drained)
	}
}

func (s *service) eachPool(f func(*pool)) {
	s.mu.Lock()
	pools := make([]*pool, 0, len(s.pools))
	for p := range s.pools {
		pools = append(pools, p)
	}
	s.mu.Unlock()
	for _, p := range pools {
		f(p)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/benchmarks/internal/fleet"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// picker is a client that calls nobody: it has a watch, a cache and a balancer of its
// own as a member has, and picks. Its connections are ready at once, so that what a
// thousand handshakes cost on one machine is left out, and nothing else.
type picker struct {
	w       *watchers
	catalog *consul.Catalog
	cache   *resolver.Cache
	b       *balancer.Balancer
	told    int64
	names   map[string]string // by address

	mu  sync.Mutex
	new []*balancer.Node // to be connected
}

type noConn struct{}

func (noConn) Close() {}

func newPicker(w *watchers, name, addr string, names map[string]string) (p *picker, err error) {
	p = &picker{w: w, told: -1, names: names}
	if p.b, err = balancer.New(balancer.Config{Policy: balancer.Random{}, SlowStart: -1}, balancer.Connector{
		Connect: func(n *balancer.Node) balancer.Conn {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.new = append(p.new, n)
			return noConn{}
		},
		Published: p.published,
	}); err != nil {
		return p, err
	}
	if p.catalog, err = consul.New(consul.Config{Name: name, Address: addr}); err != nil {
		return p, err
	}
	p.cache, err = resolver.NewCache(p.catalog, resolver.CacheConfig{Name: name})
	return p, err
}

// published connects what is new, and picks.
func (p *picker) published() {
	p.mu.Lock()
	nodes := p.new
	p.new = nil
	p.mu.Unlock()
	for _, n := range nodes {
		p.b.SetState(n, balancer.Ready, nil)
	}
	want := p.w.wanted.Load()
	if want == nil || want.change == p.told {
		return
	}
	n, err := p.b.Pick(&balancer.Call{})
	if err != nil {
		if !errors.Is(err, balancer.ErrNotReady) {
			p.w.err.Store(&err)
		}
		return
	}
	n.Done(balancer.Now(), resilience.Outcome{Class: resilience.Success})
	if p.names[n.Endpoint().Addr] == want.name {
		p.told = want.change
		p.w.seen <- sight{want.change, time.Now()}
	}
}

func (p *picker) close() (err error) {
	if p.cache != nil {
		err = p.cache.Close(context.Background())
	}
	if p.catalog != nil {
		err = errors.Join(err, p.catalog.Close(context.Background()))
	}
	if p.b != nil {
		p.b.Close()
	}
	return err
}

// pick is propagate with pickers.
func pick(ctx context.Context, agent *consultest.Agent, service string, clients, changes int) (s spread, err error) {
	f, err := fleet.New(ctx, agent, service, nil)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ports, names := map[string]int{}, map[string]string{}
	for _, name := range []string{"old", "new"} {
		if ports[name], err = f.Serve(ctx, name); err != nil {
			return s, err
		}
		names[net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[name]))] = name
	}
	if err := f.Register("old", ports["old"], 1); err != nil {
		return s, err
	}
	doors, err := fleet.NewDoors(agent.HTTPAddr(), clients)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, doors.Close()) }()
	w := &watchers{seen: make(chan sight, clients)}
	all := make([]*picker, clients)
	defer func() {
		errs := make([]error, clients)
		var wg sync.WaitGroup
		for i, p := range all {
			if p != nil {
				wg.Go(func() { errs[i] = p.close() })
			}
		}
		wg.Wait()
		err = errors.Join(append(errs, err)...)
	}()
	for i := range all {
		if all[i], err = newPicker(w, agent.Datacenter, doors.Addr(i), names); err != nil {
			return s, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer w.wg.Wait()
	defer cancel()
	follow := func(change int, name string, write func() error) ([]time.Duration, time.Duration, error) {
		return w.follow(ctx, clients, wanted{int64(change), name}, write)
	}
	if _, _, err := follow(0, "old", func() error { // all watch
		for _, p := range all {
			w.wg.Go(func() {
				if err := p.cache.Watch(ctx, service, p.b.Update); err != nil && ctx.Err() == nil {
					w.err.Store(&err)
				}
			})
		}
		return nil
	}); err != nil {
		return s, err
	}
	return s, s.measure(f, ports, changes, follow)
}

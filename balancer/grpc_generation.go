package balancer

import (
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/weft-mesh/weft/resolver"
)

// generation is one configuration of a channel with its core.
type generation struct {
	lb       *lb
	core     *Balancer
	attached *Config // what it was made of: either this
	text     string  // or this

	in    atomic.Pointer[input]
	hint  int          // of input.address; connect is called under the core's mutex
	nodes atomic.Int64 // endpoints in the newest snapshot
	known atomic.Bool
}

func (g *generation) update(in *input) {
	g.in.Store(in)
	g.nodes.Store(int64(len(in.snapshot.Endpoints)))
	g.known.Store(in.snapshot.State != resolver.Unknown)
	g.core.Update(in.snapshot)
}

// connectivity is the core's state in grpc's words.
func (g *generation) connectivity() connectivity.State {
	switch s, _ := g.core.State(); s {
	case Ready:
		return connectivity.Ready
	case Connecting:
		return connectivity.Connecting
	case Failed:
		return connectivity.TransientFailure
	}
	if g.known.Load() {
		return connectivity.TransientFailure // known to have no endpoints
	}
	return connectivity.Connecting
}

// generation is the newest generation, made anew if the configuration changed.
func (l *lb) generation(ccs grpcbalancer.ClientConnState) (*generation, error) {
	g := &generation{lb: l, attached: attached(ccs.ResolverState)}
	var cfg Config
	if g.attached != nil {
		cfg = *g.attached
	} else if c, ok := ccs.BalancerConfig.(*lbConfig); ok {
		cfg, g.text = c.cfg, c.text
	}
	l.mu.Lock()
	last := l.cur
	if l.next != nil {
		last = l.next
	}
	l.mu.Unlock()
	if last != nil && last.attached == g.attached && last.text == g.text {
		return last, nil
	}
	core, err := New(cfg, Connector{Connect: g.connect, Published: func() { l.published(g) }})
	if err != nil {
		return nil, err
	}
	g.core = core
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == nil {
		l.cur = g
		l.picker.core.Store(core)
		return g, nil
	}
	if l.next != nil {
		l.retire(l.next)
	}
	l.next = g
	return g, nil
}

// retire closes a generation in the background: its Close waits for its own
// publishing, which may be what got us here.
func (l *lb) retire(g *generation) { l.wg.Go(g.core.Close) }

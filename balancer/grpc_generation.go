package balancer

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// generation is one configuration of a lane with its core.
type generation struct {
	lb       *lb
	lane     *lane
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
	g.core.Update(in.snapshot)
	g.known.Store(g.core.answered())
}

// connectTimeout bounds the next attempt to connect a node. 0: the channel's.
func (g *generation) connectTimeout() time.Duration {
	return cmp.Or(time.Duration(g.lane.connect.Load()), g.core.cfg.ConnectTimeout)
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

// plan is what a lane is to be.
type plan struct {
	name     string
	attached *Config
	text     string
	cfg      Config
	connect  time.Duration
}

// plans are the lanes that a state asks for; at least one.
func plans(ccs grpcbalancer.ClientConnState) ([]plan, error) {
	if lanes := attachedLanes(ccs.ResolverState); len(lanes) > 0 {
		all := make([]plan, len(lanes))
		for i, x := range lanes {
			all[i] = plan{name: x.Name, attached: x.Config, connect: x.ConnectTimeout}
			if x.ConnectTimeout < 0 {
				return nil, fmt.Errorf("balancer: Lane.ConnectTimeout of %q is %v; use 0 for its Config's, or more", clip(x.Name), x.ConnectTimeout)
			}
			if x.Config != nil {
				all[i].cfg = *x.Config
			}
			if slices.ContainsFunc(all[:i], func(p plan) bool { return p.name == x.Name }) {
				return nil, fmt.Errorf("balancer: two lanes are named %q", clip(x.Name))
			}
		}
		return all, nil
	}
	p := plan{attached: attached(ccs.ResolverState)}
	if p.attached != nil {
		p.cfg = *p.attached
	} else if c, ok := ccs.BalancerConfig.(*lbConfig); ok {
		p.cfg, p.text = c.cfg, c.text
	}
	return []plan{p}, nil
}

// generations is the newest generation of each lane, made anew if its
// configuration changed. Lanes that are not asked for any more end.
func (l *lb) generations(ccs grpcbalancer.ClientConnState) ([]*generation, error) {
	all, err := plans(ccs)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	old := l.lanes
	l.mu.Unlock()
	lanes := make([]*lane, len(all))
	gens := make([]*generation, len(all))
	fresh := make([]bool, len(all))
	for i, p := range all {
		if at := slices.IndexFunc(old, func(x *lane) bool { return x.name == p.name }); at >= 0 {
			lanes[i] = old[at]
		} else {
			lanes[i] = &lane{name: p.name}
		}
		l.mu.Lock()
		last := lanes[i].cur
		if lanes[i].next != nil {
			last = lanes[i].next
		}
		l.mu.Unlock()
		if last != nil && last.attached == p.attached && last.text == p.text {
			gens[i] = last
			continue
		}
		g := &generation{lb: l, lane: lanes[i], attached: p.attached, text: p.text}
		if g.core, err = New(p.cfg, Connector{Connect: g.connect, Published: func() { l.published(g) }}); err != nil {
			return nil, err // what was made has started nothing
		}
		gens[i], fresh[i] = g, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, x := range lanes {
		x.connect.Store(int64(all[i].connect))
		switch {
		case !fresh[i]:
		case x.cur == nil:
			x.cur = gens[i]
			x.core.Store(gens[i].core)
		default:
			if x.next != nil {
				l.retire(x.next)
			}
			x.next = gens[i]
		}
	}
	l.lanes = lanes
	l.picker.lanes.Store(&lanes)
	for _, x := range old {
		if !slices.Contains(lanes, x) {
			l.retire(x.cur)
			if x.next != nil {
				l.retire(x.next)
			}
		}
	}
	return gens, nil
}

// retire closes a generation in the background: its Close waits for its own
// publishing, which may be what got us here.
func (l *lb) retire(g *generation) { l.wg.Go(g.core.Close) }

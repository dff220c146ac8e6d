package mesh

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

// laneState is what a lane keeps from one table to the next.
type laneState struct {
	key      string // what it was made of: its laneName; empty: the service itself
	lane     balancer.Lane
	services []string                   // whose endpoints it has
	problems []chain.Problem            // of its targets
	marks    []mark                     // that its places need
	outlier  *resilience.Outlier        // nil: none of its own
	guarded  atomic.Pointer[chain.Plan] // of the newest table; nil: no branch of a splitter
	left     time.Time                  // when the newest table did not have it any more; with the router's mu
}

func (s *laneState) close() {
	if s.outlier != nil {
		s.outlier.Close()
	}
}

// place is one target of a plan as a rule about endpoints.
type place struct {
	service string
	cloud   string // empty: any
	filter  *chain.Filter
	passing bool
	rank    int
}

func (p *place) has(ep *resolver.Endpoint) bool {
	return ep.Service == p.service &&
		(p.cloud == "" || ep.Locality.Cloud == p.cloud || ep.ID.Source == p.cloud) &&
		p.filter.Match(ep) && p.filter.Allowed(ep) && !(p.passing && ep.Health == resolver.Warning)
}

// rank is the place of an endpoint in the order of a plan's targets; -1: it has none.
func rank(places []place) func(*resolver.Endpoint) int {
	return func(ep *resolver.Endpoint) int {
		for i := range places {
			if places[i].has(ep) {
				return places[i].rank
			}
		}
		return -1
	}
}

// within is outer, and within each of its ranks the caller's own; nil: there is none.
func within(outer, own func(*resolver.Endpoint) int) func(*resolver.Endpoint) int {
	if own == nil {
		return outer
	}
	const most = 1 << 16
	return func(ep *resolver.Endpoint) int {
		o := outer(ep)
		if o < 0 {
			return -1
		}
		i := own(ep)
		if i < 0 {
			return -1
		}
		return o*most + min(i, most-1)
	}
}

// itself ranks the endpoints of a service: snapshots of routed have others too.
func itself(service string) func(*resolver.Endpoint) int {
	return func(ep *resolver.Endpoint) int {
		if ep.Service == service {
			return 0
		}
		return -1
	}
}

// places turns a plan's targets into rules, and says what cannot be done. The catalog
// is asked for the marks that the rules need.
//
// In profile safe a target in the caller's own datacenter, without failover
// targets, is the service in all clouds, by locality: failover by locality is what
// the community edition of Consul lacks. With failover targets, and in profile
// consul, a target is in its datacenter only.
func (d *destinations) places(r *router, e *chain.Evaluator, p *chain.Plan) (list []place, marks []mark, problems []chain.Problem) {
	policy := e.Policy()
	byLocality := policy.LocalityFailover != nil && *policy.LocalityFailover
	everywhere := byLocality || e.Profile().Name != chain.NameConsul && len(p.Failover) == 0 &&
		(policy.LocalityFailover == nil || *policy.LocalityFailover)
	home := e.Chain().Datacenter
	for i, t := range append([]*chain.Target{p.Target}, p.Failover...) {
		f, bad := chain.NewFilter(t, policy.Residency)
		if f.Remote() {
			x := mark{service: t.Service, filter: f.Expression()}
			if x.sure = d.route.marks.ask(r, x) == nil; x.sure {
				bad = nil // they are of sources that do not mark
			}
			marks = append(marks, x)
		}
		problems = append(problems, bad...)
		pl := place{service: t.Service, filter: f, passing: t.Subset.OnlyPassing, rank: i}
		if byLocality {
			pl.rank = 0
		}
		if !(everywhere && t.Peer == "" && t.Datacenter == home) {
			cloud, ok := d.route.m.cloudOf(t, home)
			if !ok {
				where := "datacenter " + t.Datacenter
				if t.Peer != "" {
					where = "peer " + t.Peer
				}
				problems = append(problems, chain.Problem{Kind: "service-resolver", Name: t.Service, Field: "Targets[" + t.ID + "]",
					Why: "no cloud of this process's configuration is " + where + "; name it in Config.Clouds"})
				continue
			}
			pl.cloud = cloud
		}
		list = append(list, pl)
	}
	return list, marks, problems
}

// laneName names a lane by all that makes it: the same name is the same lane. Its
// ConnectTimeout does not, so that a change of it costs no connection.
func laneName(e *chain.Evaluator, p *chain.Plan) string {
	h := fnv.New64a()
	for _, t := range append([]*chain.Target{p.Target}, p.Failover...) {
		fmt.Fprintf(h, "%s|%s|%t|%s|", t.ID, t.Subset.Filter, t.Subset.OnlyPassing, t.Peer)
	}
	policy := e.Policy()
	fmt.Fprintf(h, "%s|%q|%q|", e.Profile().Name, policy.Residency.Clouds, policy.Residency.Regions)
	if policy.LocalityFailover != nil {
		fmt.Fprintf(h, "%t|", *policy.LocalityFailover)
	}
	if lb := p.LoadBalancer; lb != nil {
		fmt.Fprintf(h, "%s|", lb.Policy)
		if c := lb.RingHashConfig; c != nil {
			fmt.Fprintf(h, "%d|%d|", c.MinimumRingSize, c.MaximumRingSize)
		}
		if c := lb.LeastRequestConfig; c != nil {
			fmt.Fprintf(h, "%d|", c.ChoiceCount)
		}
	}
	name := p.Target.Service
	if p.Target.ServiceSubset != "" {
		name = p.Target.ServiceSubset + "." + name
	}
	return fmt.Sprintf("%s~%08x", name, uint32(h.Sum64()))
}

// plain reports whether a plan is the service itself as if there were no chain.
func plain(e *chain.Evaluator, p *chain.Plan, service string) bool {
	t := p.Target
	return e.Profile().Name == chain.NameSafe && t.Service == service && t.ServiceSubset == "" && t.Peer == "" &&
		t.Datacenter == e.Chain().Datacenter && len(p.Failover) == 0 && t.Subset == (chain.Subset{}) &&
		(p.LoadBalancer == nil || p.LoadBalancer.Policy == "") && e.Policy().Residency.Any() && e.Policy().LocalityFailover == nil
}

// connectTimeout is what an entry says of making connections; 0: nothing. Consul fills
// in its default, which cannot be told from an entry with that value.
func connectTimeout(e *chain.Evaluator, p *chain.Plan) time.Duration {
	if d := e.ConnectTimeout(p); e.Profile().Name == chain.NameConsul || d != chain.DefaultConnectTimeout && p.ConnectTimeout > 0 {
		return d
	}
	return 0
}

// longer is the longer of two timeouts of which 0 is otherwise.
func longer(a, b, otherwise time.Duration) time.Duration {
	if cmp.Or(a, otherwise) < cmp.Or(b, otherwise) {
		return b
	}
	return a
}

// newLane makes the lane of a plan, with eyes of its own on its endpoints: the
// instances of a bad branch are compared with each other, and its breaker closes
// nothing for the other branches.
//
// Its own name is new each time: whoever still has a lane that was made of the same
// and has ended since must not take it for this one.
func (d *destinations) newLane(r *router, policy ServicePolicy, key string, e *chain.Evaluator, p *chain.Plan) (*laneState, error) {
	list, marks, problems := d.places(r, e, p)
	cfg, err := laneConfig(d.base, e, p)
	if err != nil {
		return nil, err
	}
	s := &laneState{key: key, services: servicesOf(p), problems: problems, marks: marks}
	cfg.Gate = r.to.balancer.Gate
	cfg.Name = key
	cfg.Rank = within(rank(list), cfg.Rank)
	if profile := e.Profile(); profile.Name == chain.NameConsul {
		policy.NoBreaker = policy.NoBreaker || !profile.Breaker
		strictOutlier(&policy.Outlier, profile)
	}
	s.outlier = d.eyes(key, policy, &cfg)
	cfg.Observe = s.observe(r.to.seen.observe(cfg.Observe), rank(list))
	r.lanes++
	s.lane = balancer.Lane{Name: fmt.Sprintf("%s.%d", key, r.lanes), Config: &cfg}
	if _, err := balancer.New(cfg, balancer.Connector{Connect: func(*balancer.Node) balancer.Conn { return nil }}); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// plainLane is the lane of calls to the service as if there were no chain: that of the
// destination itself.
func plainLane(service string, to *destination) *laneState {
	own := itself(service)
	s := &laneState{services: []string{service}}
	to.balancer.Rank = within(own, to.balancer.Rank)
	to.balancer.Observe = s.observe(to.balancer.Observe, own)
	s.lane = balancer.Lane{Config: &to.balancer}
	return s
}

// observe passes the attempts to a plan's own target on to the guard.
func (s *laneState) observe(next func(*balancer.Node, resilience.Outcome, time.Duration), first func(*resolver.Endpoint) int) func(*balancer.Node, resilience.Outcome, time.Duration) {
	return func(n *balancer.Node, o resilience.Outcome, took time.Duration) {
		if next != nil {
			next(n, o, took)
		}
		if p := s.guarded.Load(); p != nil && o.Class != resilience.Neutral && first(n.Endpoint()) == 0 {
			p.Done(o.Failed(), took)
		}
	}
}

func strictOutlier(o *resilience.OutlierConfig, p chain.Profile) {
	if o.Consecutive == 0 {
		o.Consecutive = p.Consecutive
	}
	if o.BaseEjection == 0 {
		o.BaseEjection = p.EjectFor
	}
	if o.MaxShare == 0 {
		o.MaxShare = p.MaxEjected
	}
	if o.StdevFactor == 0 && !p.SuccessRate {
		o.StdevFactor = -1
	}
	if o.FailurePercent == 0 && !p.SuccessRate {
		o.FailurePercent = -1
	}
}

// servicesOf are the services whose endpoints a plan needs.
func servicesOf(p *chain.Plan) (all []string) {
	for _, t := range append([]*chain.Target{p.Target}, p.Failover...) {
		if resolver.CheckService(t.Service) == nil {
			all = with(all, t.Service)
		}
	}
	return all
}

// cloudOf is the cloud that a target's datacenter or peer is to this process. home is
// the datacenter where the chain was evaluated.
func (m *Mesh) cloudOf(t *chain.Target, home string) (string, bool) {
	for _, c := range m.cfg.Clouds {
		switch {
		case t.Peer != "":
			if c.Peer == t.Peer {
				return c.Name, true
			}
		case c.Datacenter != "" && c.Datacenter == t.Datacenter:
			return c.Name, true
		}
	}
	switch {
	case t.Peer != "":
		return t.Peer, m.cfg.catalog != "consul"
	case t.Datacenter == home && m.cfg.Locality.Cloud != "":
		return m.cfg.Locality.Cloud, true
	case m.cfg.catalog != "consul":
		return t.Datacenter, true
	}
	for _, c := range m.cfg.Clouds { // a cluster of its own is named as its datacenter
		if c.Name == t.Datacenter && c.Peer == "" {
			return c.Name, true
		}
	}
	return "", false
}

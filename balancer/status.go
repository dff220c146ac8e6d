package balancer

import (
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// Status is what a Balancer does at one moment, for status pages and tests. It
// is a copy, in the order of preference of the tiers.
type Status struct {
	// Service is the name of the newest snapshot; empty before the first.
	Service string
	// State is the aggregate connection state, Err the newest connection error if it is Failed.
	State ConnState
	Err   error
	// InFlight is the number of attempts in flight; only counted for policies with
	// bounded load, else 0.
	InFlight int64
	// Tiers are the sets of endpoints of equal rank.
	Tiers []TierStatus
}

// TierStatus is a tier of a Status.
type TierStatus struct {
	// Locality is the place of the tier as far as its endpoints share it.
	Locality resolver.Locality
	// Share is the share of the load that the tier takes, 0 to 1.
	Share float64
	// Healthy is the estimated share of the tier's capacity that works, 0 to 1.
	Healthy float64
	// Usable is how much of the load the tier may take after overprovisioning and
	// while it recovers, 0 to 1.
	Usable float64
	// Panic: too little of everything is healthy, so health is ignored here.
	Panic bool
	// Endpoints, Critical and Benched count what the catalog lists, what is critical
	// of it, and what yielded its place because it could not be connected.
	Endpoints, Critical, Benched int
	// Nodes are the chosen endpoints.
	Nodes []NodeStatus
}

// NodeStatus is a node of a TierStatus.
type NodeStatus struct {
	// ID, Addr and Health are those of the endpoint, State that of its connection.
	ID     resolver.ID
	Addr   string
	Health resolver.Health
	State  ConnState
	// InFlight is the number of attempts in flight, by all balancers of the Store.
	InFlight int64
	// Latency is the decaying peak of successful attempts; zero if unknown.
	Latency time.Duration
	// Failures is the recent share of failed attempts, 0 to 1.
	Failures float64
	// Ejected: it is not picked, because it failed more than the others.
	Ejected bool
	// Weight is the present weight, Ramp the factor of slow start in it, 0.1 to 1.
	Weight, Ramp float64
}

// Status reports what the Balancer does. It blocks updates for the time of the copy.
func (b *Balancer) Status() Status {
	state, err := b.State()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Status{Service: b.service(), State: state, Err: err, InFlight: b.inflight.Load()}
	for _, t := range b.tiers {
		ts := TierStatus{
			Locality:  t.label(b.cfg.Local),
			Share:     t.spill.share,
			Healthy:   t.spill.healthy,
			Usable:    min(t.spill.last, t.spill.cap),
			Panic:     t.spill.panic,
			Endpoints: t.count,
			Critical:  t.count - t.alive,
			Benched:   len(t.bench),
		}
		for _, n := range t.nodes {
			ep := n.Endpoint()
			latency, _ := n.load.Latency()
			ts.Nodes = append(ts.Nodes, NodeStatus{
				ID:       n.ID,
				Addr:     ep.Addr,
				Health:   ep.Health,
				State:    n.State(),
				InFlight: n.load.InFlight(),
				Latency:  latency,
				Failures: n.load.FailureShare(),
				Ejected:  n.ejected,
				Weight:   n.Weight(),
				Ramp:     n.Weight() / float64(weightOf(ep)),
			})
		}
		s.Tiers = append(s.Tiers, ts)
	}
	return s
}

// Status is that of each balancer that uses the Store, in no order: there is one
// for each connection, and one for each service that HTTP reaches.
func (s *Store) Status() []Status {
	s.mu.Lock()
	users := s.usersLocked()
	s.mu.Unlock()
	all := make([]Status, 0, len(users))
	for _, b := range users {
		all = append(all, b.Status())
	}
	return all
}

package balancer

import (
	"cmp"
	"strings"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// Three things take load from endpoints that are connected. They are kept in the
// Store, so that all balancers of the process honour them:
//
//   - Eject: the endpoint is not picked, and comes back by slow start.
//   - CloseCloud: no endpoint of the service in that cloud is picked.
//   - Degrade: the endpoint is picked, and counts as unhealthy in the division of
//     the load between tiers.
//
// All three count as unhealthy there, and panic ignores all three.

// barred is a flag in Node.state: the node is connected and must not be picked.
const barred = 1 << 8

// Eject takes an endpoint out of use until then; a time that is not in the
// future puts it back. An endpoint that no balancer uses is ignored.
func (s *Store) Eject(id resolver.ID, until time.Time) {
	s.mark(id, until, func(l *Load, at int64) { l.ejected.Store(at) })
}

// Degrade lets the endpoint count as unhealthy until then, so that its tier gives
// load away to the next ones, while it stays in use.
func (s *Store) Degrade(id resolver.ID, until time.Time) {
	s.mark(id, until, func(l *Load, at int64) { l.degraded.Store(at) })
}

func (s *Store) mark(id resolver.ID, until time.Time, set func(*Load, int64)) {
	s.mu.Lock()
	e := s.loads[id]
	users := s.usersLocked()
	s.mu.Unlock()
	if e == nil {
		return
	}
	set(&e.load, stamp(until))
	for _, b := range users {
		b.recheck()
	}
}

// CloseCloud keeps the calls of a service out of a cloud until then, as an open
// Breaker wants it: the load moves to the next tiers, and comes back as after any
// loss. A time that is not in the future opens it again. It is meant for
// [resilience.BreakerConfig.OnChange]: give it BreakerChange.Until, which is zero
// once the Breaker is no longer open.
func (s *Store) CloseCloud(service, cloud string, until time.Time) {
	k := cloudKey{service, cloud}
	now := time.Now()
	s.mu.Lock()
	for k, t := range s.clouds { // so that it stays small
		if !t.After(now) {
			delete(s.clouds, k)
		}
	}
	delete(s.clouds, k)
	if until.After(now) {
		if s.clouds == nil {
			s.clouds = map[cloudKey]time.Time{}
		}
		s.clouds[k] = until
	}
	users := s.usersLocked()
	s.mu.Unlock()
	for _, b := range users {
		b.recheck()
	}
}

type cloudKey struct{ service, cloud string }

// closedUntil is when a cloud opens again; zero if it is open.
func (s *Store) closedUntil(service, cloud string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clouds[cloudKey{service, cloud}]
}

func (s *Store) usersLocked() []*Balancer {
	out := make([]*Balancer, 0, len(s.users))
	for b := range s.users {
		out = append(out, b)
	}
	return out
}

// join makes the Store tell b of changes, until leave.
func (s *Store) join(b *Balancer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[*Balancer]struct{}{}
	}
	s.users[b] = struct{}{}
}

func (s *Store) leave(b *Balancer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, b)
}

// stamp is t as a value of Now, never 0; 0 if it is not in the future.
func stamp(t time.Time) int64 {
	d := time.Until(t)
	if t.IsZero() || d <= 0 {
		return 0
	}
	if at := Now() + int64(d); at != 0 {
		return at
	}
	return 1
}

// waits reports whether a stamp is in the future, and asks for a look when it is over.
func (b *Balancer) waits(at int64) bool {
	if at == 0 {
		return false
	}
	left := time.Duration(at - Now())
	if left > 0 {
		b.due(b.now.Add(left))
	}
	return left > 0
}

// recheck looks at the marks of the Store again.
func (b *Balancer) recheck() {
	b.mu.Lock()
	if b.closed || len(b.tiers) == 0 {
		b.mu.Unlock()
		return
	}
	b.now = time.Now()
	b.settle() // unlocks
}

// shut reports whether the calls are to be kept out of the node's cloud.
func (b *Balancer) shut(n *Node) bool {
	cloud := n.Endpoint().Locality.Cloud
	until, ok := b.clouds[cloud]
	if !ok {
		until = b.cfg.Store.closedUntil(cmp.Or(b.cfg.Name, b.snap.Service), cloud)
		b.clouds[cloud] = until
	}
	if until.After(b.now) {
		b.due(until)
		return true
	}
	return false
}

// withhold bars the nodes that are ejected or in a closed cloud, unless their
// tier panics, and begins the slow start of those that come back.
func (b *Balancer) withhold() {
	for _, t := range b.tiers {
		for _, n := range t.nodes {
			ejected := b.waits(n.load.ejected.Load())
			if n.ejected && !ejected {
				b.slowStart(n)
			}
			n.ejected = ejected
			n.bar((ejected || b.shut(n)) && !t.spill.panic)
		}
	}
}

// bar is called with Balancer.mu held, under which alone the state changes.
func (n *Node) bar(on bool) {
	s := n.state.Load()
	if on != (s&barred != 0) {
		n.state.Store(s ^ barred)
	}
}

// setConn changes the connection's part of the state and returns the old one.
func (n *Node) setConn(s ConnState) ConnState {
	old := n.state.Load()
	n.state.Store(old&barred | uint32(s))
	return ConnState(old &^ barred)
}

// watch makes the Outlier know the node, if there is one.
func (b *Balancer) watch(n *Node) {
	if b.cfg.Outlier == nil {
		return
	}
	l := n.Endpoint().Locality
	zone := strings.Trim(l.Cloud+"/"+l.Region+"/"+l.Zone, "/")
	n.host = b.cfg.Outlier.Host(n.ID.String(), zone, ejector{b.cfg.Store, n.ID})
}

// ejector is an endpoint as an Outlier acts on it.
type ejector struct {
	store *Store
	id    resolver.ID
}

func (e ejector) Eject(until time.Time)   { e.store.Eject(e.id, until) }
func (e ejector) Degrade(until time.Time) { e.store.Degrade(e.id, until) }

var _ resilience.Ejector = ejector{}

package mesh

import (
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/resolver"
)

// observeRegistry tells how old what the catalog sources said is.
func (m *Mesh) observeRegistry(emit telemetry.Emit) {
	now := time.Now()
	for _, c := range m.caches {
		var stale time.Duration
		connected, held, skipped := 1.0, 0, 0
		for _, s := range c.cache.Status() {
			skipped += s.Skipped
			if s.Held != nil {
				held += s.Held.Kept - s.Held.Reported
			}
			if !s.StaleSince.IsZero() {
				stale, connected = max(stale, now.Sub(s.StaleSince)), 0
			} else if s.Watched && s.Reason != nil {
				connected = 0
			}
		}
		source := attribute.String(telemetry.AttrSource, c.name)
		emit(telemetry.RegistryStaleness, stale.Seconds(), source)
		emit(telemetry.RegistryConnected, connected, source)
		emit(telemetry.RegistryHeld, float64(held), source)
		emit(telemetry.RegistrySkipped, float64(skipped), source)
	}
}

// observeIdentity tells how long the own identity lasts.
func (m *Mesh) observeIdentity(emit telemetry.Emit) {
	svid, err := m.identity.GetX509SVID()
	if err != nil || len(svid.Certificates) == 0 {
		return
	}
	leaf := svid.Certificates[0]
	emit(telemetry.SVIDExpiry, time.Until(leaf.NotAfter).Seconds())
	emit(telemetry.SVIDLifetime, leaf.NotAfter.Sub(leaf.NotBefore).Seconds())
}

// observeBalancers tells what the balancers do. An endpoint that several
// connections use counts once, with the best of its states.
func (m *Mesh) observeBalancers(emit telemetry.Emit) {
	type service struct {
		nodes            map[resolver.ID]string
		listed, critical int
		panic            bool
		shares           map[resolver.Locality]float64
	}
	by := map[string]*service{}
	for _, b := range m.store.Status() {
		if b.Service == "" {
			continue
		}
		s := by[b.Service]
		if s == nil {
			s = &service{nodes: map[resolver.ID]string{}}
			by[b.Service] = s
		}
		listed, critical := 0, 0
		shares := map[resolver.Locality]float64{}
		for _, t := range b.Tiers {
			listed, critical = listed+t.Endpoints, critical+t.Critical
			s.panic = s.panic || t.Panic
			shares[t.Locality] += t.Share
			for _, n := range t.Nodes {
				if state := stateOf(n); stateRank[state] >= stateRank[s.nodes[n.ID]] {
					s.nodes[n.ID] = state
				}
			}
		}
		s.listed, s.critical, s.shares = max(s.listed, listed), max(s.critical, critical), shares
	}
	for name, s := range by {
		svc := attribute.String(telemetry.AttrService, name)
		count := map[string]int{}
		for _, state := range s.nodes {
			count[state]++
		}
		count["unused"] = max(0, s.listed-len(s.nodes))
		for state := range stateRank {
			emit(telemetry.Endpoints, float64(count[state]), svc, attribute.String(telemetry.AttrState, state))
		}
		panicking := 0.0
		if s.panic {
			panicking = 1
		}
		emit(telemetry.Panic, panicking, svc)
		for at, share := range s.shares {
			emit(telemetry.TierShare, share, svc, attribute.String(telemetry.AttrPeerCloud, at.Cloud), attribute.String(telemetry.AttrPeerZone, at.Zone))
		}
	}
}

// stateRank orders the states of an endpoint, the best last. Critical ones are chosen
// only in panic; those that are not chosen are "unused".
var stateRank = map[string]int{"unused": 0, "critical": 1, "failed": 2, "idle": 3, "connecting": 4, "ejected": 5, "ready": 6}

func stateOf(n balancer.NodeStatus) string {
	switch {
	case n.Ejected:
		return "ejected"
	case n.Health == resolver.Critical && n.State != balancer.Ready:
		return "critical"
	}
	return n.State.String()
}

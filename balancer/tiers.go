package balancer

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// tierKey names a set of endpoints of equal rank as seen from Config.Local.
type tierKey struct {
	order int // see Config.Rank
	rank  uint8
	cloud string // of rankCloud only
}

const (
	rankZone   uint8 = iota // the caller's zone
	rankRegion              // the rest of its region
	rankHome                // the rest of its cloud
	rankCloud               // one other cloud
	rankAny                 // everywhere, if nothing is ranked
)

// tierOf ranks an endpoint. Two unknown places are never the same place.
func (b *Balancer) tierOf(ep *resolver.Endpoint) (k tierKey) {
	if b.cfg.Rank != nil {
		k.order = b.cfg.Rank(ep)
	}
	local, l := b.cfg.Local, ep.Locality
	switch {
	case l.SameZone(local):
		k.rank = rankZone
	case l.SameRegion(local):
		k.rank = rankRegion
	case l.SameCloud(local):
		k.rank = rankHome
	case local.Cloud == "" && len(b.cfg.CloudOrder) == 0:
		k.rank = rankAny
	default:
		k.rank, k.cloud = rankCloud, l.Cloud
	}
	return k
}

// tier is the endpoints of one rank. All fields are guarded by Balancer.mu.
type tier struct {
	key tierKey

	// What the catalog says, over all endpoints of the tier.
	count, alive        int // alive: not critical
	weight, aliveWeight uint64
	all                 []*resolver.Endpoint // sorted; only if everything is connected
	changes             []change             // to be merged into all
	best                candidates           // only if a subset is connected

	// The chosen nodes, sorted by identity; the slice is replaced, never written.
	nodes   []*Node
	wanted  []*resolver.Endpoint // what nodes is made for
	want    int                  // how many are wanted
	dirty   bool                 // wanted must be computed again
	weights bool                 // a weight changed since the picker was made
	bench   map[resolver.ID]time.Time
	alone   time.Duration // how long to wait before benching while nothing is ready

	spill  spill
	ready  []*Node // as published
	live   int     // nodes that are ready now
	picker Picker
	shared float64 // the share that the picker was made for
}

// label is the tier's place for people; unknown parts are unspecified.
func (t *tier) label(local resolver.Locality) resolver.Locality {
	switch t.key.rank {
	case rankZone:
		return local
	case rankRegion:
		return resolver.Locality{Cloud: local.Cloud, Region: local.Region}
	case rankHome:
		return resolver.Locality{Cloud: local.Cloud}
	}
	return resolver.Locality{Cloud: t.key.cloud}
}

// admit notes that the catalog changed an endpoint of the tier.
func (b *Balancer) admit(t *tier, ch change) {
	if ep := ch.was; ep != nil {
		w := uint64(weightOf(ep))
		t.count--
		t.weight -= w
		if ep.Health != resolver.Critical {
			t.alive--
			t.aliveWeight -= w
		}
		t.best.remove(ep)
	}
	if ep := ch.now; ep != nil {
		w := uint64(weightOf(ep))
		t.count++
		t.weight += w
		if ep.Health != resolver.Critical {
			t.alive++
			t.aliveWeight += w
		}
		if b.cfg.SubsetSize > 0 && t.eligible(ep) {
			t.best.add(ep, b.score(ep))
		}
	}
	if b.cfg.SubsetSize < 0 {
		t.changes = append(t.changes, ch)
	}
	t.dirty = true
}

// eligible reports whether an endpoint may be chosen: critical ones only in panic.
func (t *tier) eligible(ep *resolver.Endpoint) bool {
	return ep.Health != resolver.Critical || t.spill.panic
}

// eligibles is how many endpoints may be chosen.
func (t *tier) eligibles() int {
	if t.spill.panic {
		return t.count
	}
	return t.alive
}

// change sorts the differences of a snapshot into tiers.
func (b *Balancer) change(ch change) {
	var from, to tierKey
	if ch.was != nil {
		from = b.tierOf(ch.was)
	}
	if ch.now != nil {
		to = b.tierOf(ch.now)
		if b.joins(ch.now) && (ch.was == nil || ch.was.Health == resolver.Critical && ch.now.Health != resolver.Critical) {
			if b.fresh == nil {
				b.fresh = map[*resolver.Endpoint]struct{}{}
			}
			b.fresh[ch.now] = struct{}{}
		}
	}
	if ch.was != nil && ch.now != nil && from == to {
		b.admit(b.tierFor(to, ch.now), ch)
		return
	}
	if ch.was != nil {
		b.admit(b.tierFor(from, ch.was), change{was: ch.was})
	}
	if ch.now != nil {
		b.admit(b.tierFor(to, ch.now), change{now: ch.now})
	}
}

// joins reports whether an endpoint is new to a set that serves, and not only
// new to us because its source has answered for the first time.
func (b *Balancer) joins(ep *resolver.Endpoint) bool { return b.served && !b.arrived[ep.ID.Source] }

// arrived is the sources that were not known in the snapshot before, and are now.
func arrived(before, now *resolver.Snapshot) map[string]bool {
	var out map[string]bool
	for i, src := range now.Sources {
		if src.State == resolver.Unknown {
			continue
		}
		if before == nil || i >= len(before.Sources) || before.Sources[i].State == resolver.Unknown {
			if out == nil {
				out = map[string]bool{}
			}
			out[src.Source] = true
		}
	}
	return out
}

// tierFor is the tier k, made for its first endpoint ep if there is none.
func (b *Balancer) tierFor(k tierKey, ep *resolver.Endpoint) *tier {
	t := b.byKey[k]
	if t == nil {
		t = &tier{key: k, alone: benchAlone}
		t.best = candidates{full: true, limit: 2*max(b.cfg.SubsetSize, b.cfg.WarmConns) + 16}
		// A tier that appears while others serve proves itself first.
		t.spill = newSpill(!b.joins(ep))
		b.byKey[k] = t
		b.tiers = append(b.tiers, t)
	}
	return t
}

// dropEmpty forgets tiers without endpoints.
func (b *Balancer) dropEmpty() {
	b.tiers = slices.DeleteFunc(b.tiers, func(t *tier) bool {
		if t.count == 0 && len(t.nodes) == 0 {
			delete(b.byKey, t.key)
			return true
		}
		return false
	})
}

// orderTiers sorts the tiers. Tiers keep their order
// while only round-trip times change by less than a fifth.
func (b *Balancer) orderTiers() {
	rtt := map[string]time.Duration{}
	if b.cfg.RoundTrip != nil {
		for _, t := range b.tiers {
			if t.key.rank == rankCloud {
				rtt[t.key.cloud] = b.cfg.RoundTrip(t.key.cloud)
			}
		}
	}
	for range b.tiers { // as many passes as a bubble sort can need
		swapped := false
		for i := 1; i < len(b.tiers); i++ {
			if b.before(b.tiers[i], b.tiers[i-1], rtt) {
				b.tiers[i], b.tiers[i-1] = b.tiers[i-1], b.tiers[i]
				swapped = true
			}
		}
		if !swapped {
			break
		}
	}
}

// before reports whether tier x must move in front of y, which is in front of it now.
func (b *Balancer) before(x, y *tier, rtt map[string]time.Duration) bool {
	if x.key.order != y.key.order {
		return x.key.order < y.key.order
	}
	if x.key.rank != y.key.rank {
		return x.key.rank < y.key.rank
	}
	if cx, cy := b.cloudOrder(x.key.cloud), b.cloudOrder(y.key.cloud); cx != cy {
		return cx < cy
	}
	rx, ry := rtt[x.key.cloud], rtt[y.key.cloud]
	switch {
	case rx > 0 && ry > 0:
		return float64(rx) < 0.8*float64(ry)
	case rx > 0 || ry > 0:
		return rx > 0
	case x.key.cloud == "" || y.key.cloud == "": // an unknown cloud is the last
		return y.key.cloud == "" && x.key.cloud != ""
	}
	return cmp.Less(x.key.cloud, y.key.cloud)
}

func (b *Balancer) cloudOrder(cloud string) int {
	if i := slices.Index(b.cfg.CloudOrder, cloud); i >= 0 {
		return i
	}
	return math.MaxInt
}

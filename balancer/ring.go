package balancer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// RingHash sends calls with the same Call.Hash to the same node (Karger's ring
// as in Envoy and gRFC A42, with the nodes' identities hashed, so that a changed
// address moves nothing). A node that is not ready, or was tried, passes its
// keys on along the ring. A call without a hash goes to a random node.
//
// Loads are bounded: a node takes no further attempt while it has
//
//	ceil(LoadFactor · w/W · (total+1))
//
// in flight, where w is its weight, W the weight of the tier's ready nodes, and
// total the attempts that this Balancer has in flight in the tier (estimated by
// the tier's share if several tiers are in use); the key goes on along the
// ring. If all are full or down, the first ready one takes it.
type RingHash struct {
	// MinRing is how many entries the ring has at least. 0: 1024.
	MinRing int
	// MaxRing bounds the entries; each node has one in any case. 0: 4096.
	MaxRing int
	// LoadFactor is the bound relative to the mean, at least 1. 0: 1.25; negative: no bound.
	LoadFactor float64
}

const maxRing = 8 << 20 // Envoy's bound

func (p RingHash) check() error {
	if p.MinRing < 0 || p.MinRing > maxRing {
		return fmt.Errorf("balancer: RingHash.MinRing is %d; use 1 to %d, or 0 for 1024", p.MinRing, maxRing)
	}
	if p.MaxRing < 0 || p.MaxRing > maxRing {
		return fmt.Errorf("balancer: RingHash.MaxRing is %d; use 1 to %d, or 0 for 4096", p.MaxRing, maxRing)
	}
	if lo, hi := p.sizes(); lo > hi {
		return fmt.Errorf("balancer: RingHash.MinRing %d is above MaxRing %d", lo, hi)
	}
	return checkLoadFactor("RingHash", p.LoadFactor)
}

func (p RingHash) sizes() (lo, hi int) {
	lo, hi = p.MinRing, p.MaxRing
	if hi == 0 {
		hi = max(4096, lo)
	}
	if lo == 0 {
		lo = min(1024, hi)
	}
	return lo, hi
}

type ring struct {
	keyed
	hashes []uint64 // ascending, parallel to slots
	guide  []int32  // guide[g] is the first entry at or after g/len of the circle
	policy RingHash
}

// NewPicker implements Policy.
func (p RingHash) NewPicker(set Set, prev Picker) Picker {
	r := &ring{policy: p}
	if old, ok := prev.(*ring); ok && old.policy == p && sameNodes(old.nodes, set.Nodes) {
		r.hashes, r.guide, r.keyed = old.hashes, old.guide, newKeyed(set, old.slots, p.LoadFactor)
		return r
	}
	type entry struct {
		hash uint64
		node int32
	}
	sum, least := 0.0, math.Inf(1)
	for _, n := range set.Nodes {
		sum += n.Weight()
		least = min(least, n.Weight())
	}
	lo, hi := p.sizes()
	// Envoy: the lightest node gets whole entries if MaxRing allows it.
	size := min(math.Ceil(least/sum*float64(lo))*sum/least, float64(hi))
	var entries []entry
	for i, n := range set.Nodes {
		id := hashID(n.ID)
		for k := range max(1, int(math.Round(size*n.Weight()/sum))) {
			entries = append(entries, entry{mix64(id + uint64(k)*golden), int32(i)})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.node, b.node))
	})
	slots := make([]int32, len(entries))
	r.hashes = make([]uint64, len(entries))
	for i, e := range entries {
		slots[i], r.hashes[i] = e.node, e.hash
	}
	r.guide = make([]int32, len(entries)+1)
	i := 0
	for g := range entries {
		at := uint64(float64(g) / float64(len(entries)) * (1 << 63) * 2)
		for i < len(entries) && r.hashes[i] < at {
			i++
		}
		r.guide[g] = int32(i)
	}
	r.guide[len(entries)] = int32(len(entries))
	r.keyed = newKeyed(set, slots, p.LoadFactor)
	return r
}

// Pick implements Picker.
func (r *ring) Pick(c *Call) *Node {
	if !c.HasHash || len(r.slots) == 0 {
		return r.random.Pick(c)
	}
	// The guide is a hint (its bounds are rounded); walk from there to the entry.
	i := int(r.guide[(*wheel)(nil).draw(len(r.slots), c.Hash)])
	for i > 0 && r.hashes[i-1] >= c.Hash {
		i--
	}
	for i < len(r.hashes) && r.hashes[i] < c.Hash {
		i++
	}
	if i == len(r.hashes) {
		i = 0
	}
	return r.from(i, c)
}

package balancer

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/weft-mesh/weft/resolver"
)

// defaultLoadFactor is c of consistent hashing with bounded loads (Mirrokni,
// Thorup, Zadimoghaddam, 2016).
const defaultLoadFactor = 1.25

func checkLoadFactor(policy string, c float64) error {
	if math.IsNaN(c) || math.IsInf(c, 0) || c > 0 && c < 1 {
		return fmt.Errorf("balancer: %s.LoadFactor is %v; use at least 1, 0 for %v, or a negative value for no bound",
			policy, c, defaultLoadFactor)
	}
	return nil
}

// keyed is what RingHash and Maglev share: slots in a fixed order, each a node,
// and the walk from a key's slot to a node that may take it.
type keyed struct {
	nodes  []*Node // Set.Nodes
	slots  []int32 // indexes of nodes
	random *random // for calls without a key
	factor float64 // LoadFactor; negative: no bound
	total  *atomic.Int64
	share  float64
	weight float64 // of the ready nodes
}

func newKeyed(set Set, slots []int32, factor float64) keyed {
	k := keyed{nodes: set.Nodes, slots: slots, random: newRandom(set.Ready), factor: factor, total: set.total, share: 1}
	if factor == 0 {
		k.factor = defaultLoadFactor
	}
	if set.share > 0 {
		k.share = set.share
	}
	for _, n := range set.Ready {
		k.weight += n.Weight()
	}
	return k
}

// sameNodes reports whether both are the same slice, so that a table of one holds for the other.
func sameNodes(a, b []*Node) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// from walks the slots from i: the first usable node below its bound, else the
// first usable one, else any that is ready.
func (k *keyed) from(i int, c *Call) *Node {
	var full *Node
	last, misses := int32(-1), 0
	for s := range k.slots {
		j := i + s
		if j >= len(k.slots) {
			j -= len(k.slots)
		}
		at := k.slots[j]
		if at == last {
			continue
		}
		last = at
		n := k.nodes[at]
		switch {
		case !n.usable(c):
		case k.bounded(n):
			return n
		case full == nil:
			full = n
		}
		// A whole set that is full or down would be walked many times over: once
		// its nodes have most likely been seen, look at each in turn instead.
		if misses++; misses >= 2*len(k.nodes)+8 {
			break
		}
	}
	if full != nil {
		return full
	}
	if ready := k.random.ready; len(ready) > 0 {
		return probe(ready, i%len(ready), c)
	}
	return nil
}

// bounded reports whether one more attempt keeps n within its bound.
func (k *keyed) bounded(n *Node) bool {
	if k.factor < 0 || k.total == nil {
		return true
	}
	own := n.own.Load()
	if own <= 0 {
		return true
	}
	all := k.share * float64(k.total.Load()+1)
	return float64(own) < math.Ceil(k.factor*n.Weight()/k.weight*all)
}

// hashID is HashString of the identity's parts, without building the string.
func hashID(id resolver.ID) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{id.Source, id.Node, id.Instance} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0x1f) * 1099511628211
	}
	return mix64(h)
}

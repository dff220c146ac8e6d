package balancer

import (
	"fmt"
	"math/big"
)

// Maglev sends calls with the same Call.Hash to the same node by a lookup table
// (Eisenbud et al., NSDI 2016; weights as in Envoy). It is faster to build and to
// ask than RingHash, spreads keys more evenly, and moves about twice as many keys
// when the set changes. A node that is not ready, or was tried, passes its keys
// on to the next slot of the table. A call without a hash goes to a random node.
// Loads are bounded as in RingHash.
type Maglev struct {
	// TableSize is the size of the table, a prime. 0: 65537, or for more than
	// 1000 nodes 655373, for more than 10000 nodes 5000011.
	TableSize int
	// LoadFactor is the bound relative to the mean, at least 1. 0: 1.25; negative: no bound.
	LoadFactor float64
}

const maxTable = 5000011 // Envoy's bound

func (p Maglev) check() error {
	if m := p.TableSize; m != 0 && (m < 2 || m > maxTable || !big.NewInt(int64(m)).ProbablyPrime(0)) {
		return fmt.Errorf("balancer: Maglev.TableSize is %d; use a prime up to %d, or 0 for one that fits", m, maxTable)
	}
	return checkLoadFactor("Maglev", p.LoadFactor)
}

func (p Maglev) size(nodes int) int {
	switch {
	case p.TableSize > 0:
		return p.TableSize
	case nodes <= 1000:
		return 65537
	case nodes <= 10000:
		return 655373
	}
	return maxTable
}

type maglev struct {
	keyed
	policy Maglev
}

// NewPicker implements Policy.
func (p Maglev) NewPicker(set Set, prev Picker) Picker {
	if old, ok := prev.(*maglev); ok && old.policy == p && sameNodes(old.nodes, set.Nodes) {
		return &maglev{newKeyed(set, old.slots, p.LoadFactor), p}
	}
	return &maglev{newKeyed(set, maglevTable(set.Nodes, p.size(len(set.Nodes))), p.LoadFactor), p}
}

// maglevTable lets the nodes claim their next free slot in turns; in one round
// a node claims as many as its weight is above the mean, 1 if it is the mean.
func maglevTable(nodes []*Node, m int) []int32 {
	if len(nodes) == 0 {
		return nil
	}
	type claimant struct {
		at, skip int
		share    float64 // turns per round
		due      float64
	}
	mean := 0.0
	for _, n := range nodes {
		mean += n.Weight() / float64(len(nodes))
	}
	cs := make([]claimant, len(nodes))
	for i, n := range nodes {
		h := hashID(n.ID)
		cs[i] = claimant{
			at:    int(h % uint64(m)),
			skip:  int(mix64(h+golden)%uint64(max(m-1, 1))) + 1,
			share: n.Weight() / mean,
		}
	}
	table := make([]int32, m)
	for i := range table {
		table[i] = -1
	}
	for free := m; free > 0; {
		for i := range cs {
			c := &cs[i]
			for c.due += c.share; c.due >= 1-1e-9 && free > 0; c.due-- {
				for table[c.at] >= 0 {
					if c.at += c.skip; c.at >= m {
						c.at -= m
					}
				}
				table[c.at] = int32(i)
				free--
			}
		}
	}
	return table
}

// Pick implements Picker.
func (p *maglev) Pick(c *Call) *Node {
	if !c.HasHash || len(p.slots) == 0 {
		return p.random.Pick(c)
	}
	return p.from((*wheel)(nil).draw(len(p.slots), c.Hash), c)
}

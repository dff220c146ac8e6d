package balancer

import (
	"math/bits"
	"math/rand/v2"
)

// wheel maps a uniform number to an index in proportion to weights: prefix sums
// with a guide table (Chen and Asau, 1974), so a draw takes two steps on average
// and each index is one interval, which keeps regular sequences regular.
type wheel struct {
	upTo  []uint64 // scaled to 63 bits, ascending
	guide []int32  // guide[g] is the first index whose interval ends after g/len
}

// newWheel is nil if all nodes have the same weight.
func newWheel(nodes []*Node) *wheel {
	sum, first, equal := 0.0, 0.0, true
	for i, n := range nodes {
		w := n.Weight()
		if i == 0 {
			first = w
		}
		equal = equal && w == first
		sum += w
	}
	if equal || !(sum > 0) {
		return nil
	}
	w := &wheel{upTo: make([]uint64, len(nodes)), guide: make([]int32, len(nodes)+1)}
	const one = 1 << 63
	acc := 0.0
	for i, n := range nodes {
		acc += n.Weight()
		w.upTo[i] = min(uint64(acc/sum*one), one)
	}
	w.upTo[len(nodes)-1] = one
	i := 0
	for g := range nodes {
		at, _ := bits.Div64(uint64(g)>>1, uint64(g)<<63, uint64(len(nodes))) // g·2^63/len
		for w.upTo[i] <= at {
			i++
		}
		w.guide[g] = int32(i)
	}
	w.guide[len(nodes)] = int32(len(nodes) - 1)
	return w
}

// at is the index of u, which counts as u/2^64.
func (w *wheel) at(u uint64) int {
	x := u >> 1
	g, _ := bits.Mul64(u, uint64(len(w.upTo)))
	lo, hi := int(w.guide[g]), int(w.guide[g+1])
	for lo < hi {
		if mid := (lo + hi) / 2; w.upTo[mid] > x {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// draw picks one of n indexes: by the wheel, or evenly if w is nil.
func (w *wheel) draw(n int, u uint64) int {
	if w != nil {
		return w.at(u)
	}
	i, _ := bits.Mul64(u, uint64(n))
	return int(i)
}

// probe looks for a usable node from index i on, and takes a tried one if there
// is no other.
func probe(nodes []*Node, i int, c *Call) *Node {
	var tried *Node
	for k := range nodes {
		j := i + k
		if j >= len(nodes) {
			j -= len(nodes)
		}
		n := nodes[j]
		if !n.Ready() {
			continue
		}
		if !c.Tried(n) {
			return n
		}
		if tried == nil {
			tried = n
		}
	}
	return tried
}

// random is the picker of Random, and of keyed policies for calls without a key.
type random struct {
	ready []*Node
	wheel *wheel
}

// Random takes ready nodes at random, in proportion to their weights.
type Random struct{}

// NewPicker implements Policy.
func (Random) NewPicker(set Set, _ Picker) Picker { return newRandom(set.Ready) }

func newRandom(ready []*Node) *random { return &random{ready: ready, wheel: newWheel(ready)} }

// Pick implements Picker.
func (p *random) Pick(c *Call) *Node {
	if len(p.ready) == 0 {
		return nil
	}
	i := p.wheel.draw(len(p.ready), rand.Uint64())
	if n := p.ready[i]; n.usable(c) {
		return n
	}
	i = p.wheel.draw(len(p.ready), rand.Uint64())
	return probe(p.ready, i, c)
}

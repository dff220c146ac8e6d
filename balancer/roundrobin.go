package balancer

import (
	"math/rand/v2"
	"sync/atomic"
)

// RoundRobin takes the ready nodes in turn, each in proportion to its weight.
//
// With equal weights that is plain rotation. With unequal weights a node's turns
// are spread as evenly as they can be: the n-th pick is the node at n·φ (mod 1)
// on a line that the weights divide. One atomic addition, no lock, and no
// schedule to rebuild in a pick.
type RoundRobin struct{}

// golden is 2^64/φ: multiples of it are the most evenly spread sequence (Weyl, Knuth).
const golden = 0x9E3779B97F4A7C15

type roundRobin struct {
	ready []*Node
	wheel *wheel
	turn  *atomic.Uint64 // survives the picker
}

// NewPicker implements Policy.
func (RoundRobin) NewPicker(set Set, prev Picker) Picker {
	p := &roundRobin{ready: set.Ready, wheel: newWheel(set.Ready)}
	if old, ok := prev.(*roundRobin); ok {
		p.turn = old.turn
	} else {
		p.turn = new(atomic.Uint64)
		p.turn.Store(uint64(rand.Uint32())) // clients that start together do not walk together
	}
	return p
}

// Pick implements Picker.
func (p *roundRobin) Pick(c *Call) *Node {
	if len(p.ready) == 0 {
		return nil
	}
	turn := p.turn.Add(1)
	var i int
	if p.wheel != nil {
		i = p.wheel.at(turn * golden)
	} else {
		i = int(turn % uint64(len(p.ready)))
	}
	if n := p.ready[i]; n.usable(c) {
		return n
	}
	return probe(p.ready, i, c)
}

package balancer

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"
)

// LeastRequest takes the less loaded of a few nodes drawn at random (power of
// two choices; gRFC A48, Envoy least_request).
//
// Nodes are drawn in proportion to their weights; the load is 1 + in-flight
// attempts over the weight relative to the mean, times what recent failures
// cost. So an idle set is used by weight, a busy one is filled by weight, and a
// node that fails fast does not look idle. While the one that was found fails more
// than a quarter of its attempts, up to six more are drawn.
type LeastRequest struct {
	// Choices is how many nodes are drawn, 2 to 10. 0: 2.
	Choices int
}

func (p LeastRequest) check() error {
	if p.Choices != 0 && (p.Choices < 2 || p.Choices > 10) {
		return fmt.Errorf("balancer: LeastRequest.Choices is %d; use 2 to 10, or 0 for 2", p.Choices)
	}
	return nil
}

// NewPicker implements Policy.
func (p LeastRequest) NewPicker(set Set, _ Picker) Picker {
	return newP2C(set.Ready, p.Choices, inverseDecay(defaultDecay), false)
}

// PeakEWMA takes the cheaper of two nodes drawn at random by weight. The cost is
// the load of LeastRequest times the node's latency: a decaying peak average that
// jumps up at once and forgets with Decay (Finagle's p2cPeakEwma; see the comment
// in ewma.go for what is different). It is the default.
//
// A node whose latency is unknown counts as the node it is compared with, never
// as the fastest.
type PeakEWMA struct {
	// Decay is the time constant of forgetting. 0: 5 s. At least 10 ms.
	Decay time.Duration
}

func (p PeakEWMA) check() error {
	if p.Decay != 0 && p.Decay < 10*time.Millisecond {
		return fmt.Errorf("balancer: PeakEWMA.Decay is %v; use at least 10ms, or 0 for %v", p.Decay, defaultDecay)
	}
	return nil
}

// inverse is the decay of p for the samples of its nodes.
func (p PeakEWMA) inverse() float32 {
	if p.Decay <= 0 {
		return inverseDecay(defaultDecay)
	}
	return inverseDecay(p.Decay)
}

// NewPicker implements Policy.
func (p PeakEWMA) NewPicker(set Set, _ Picker) Picker {
	return newP2C(set.Ready, 2, p.inverse(), true)
}

// moreDraws bounds how often a picker looks for a node that does not fail.
const moreDraws = 6

type p2c struct {
	ready   []*Node
	wheel   *wheel
	scale   []uint32 // in-flight attempts count scale/256 each; nil: 256
	clock   *clock
	inv     float32
	choices int
	latency bool
}

func newP2C(ready []*Node, choices int, inv float32, latency bool) *p2c {
	p := &p2c{ready: ready, wheel: newWheel(ready), inv: inv, choices: max(2, choices), latency: latency}
	if len(ready) > 0 {
		p.clock = ready[0].load.clock
	}
	if p.wheel != nil {
		sum := 0.0
		for _, n := range ready {
			sum += n.Weight()
		}
		mean := sum / float64(len(ready))
		p.scale = make([]uint32, len(ready))
		for i, n := range ready {
			p.scale[i] = uint32(min(max(256*mean/n.Weight(), 1), 1<<30))
		}
	}
	return p
}

// Pick implements Picker.
func (p *p2c) Pick(c *Call) *Node {
	n := len(p.ready)
	if n < 2 {
		return probe(p.ready, 0, c)
	}
	i, j := p.two(n)
	a, b := p.ready[i], p.ready[j]
	switch okA, okB := a.usable(c), b.usable(c); {
	case okA && okB:
	case okA:
		return a
	case okB:
		return b
	default:
		return probe(p.ready, i, c)
	}
	now := p.clock.tick.Load()
	if p.worse(i, j, now) {
		i = j
	}
	for range p.choices - 2 {
		if k := p.wheel.draw(n, rand.Uint64()); k != i && p.ready[k].usable(c) && p.worse(i, k, now) {
			i = k
		}
	}
	return p.ready[p.past(i, now, c)]
}

// past draws on while the node that was found keeps failing, so that a pair of
// lost nodes costs no call: of a third that is lost, one pair in nine is one. While
// nothing fails it draws nothing, and while all fail it stops soon.
func (p *p2c) past(i int, now uint32, c *Call) int {
	for range moreDraws {
		if failureCost(p.ready[i].load.ewma.Load(), now, p.inv) < failing {
			break
		}
		if k := p.wheel.draw(len(p.ready), rand.Uint64()); k != i && p.ready[k].usable(c) && p.worse(i, k, now) {
			i = k
		}
	}
	return i
}

// two draws two different indexes.
func (p *p2c) two(n int) (int, int) {
	r := rand.Uint64()
	if p.wheel == nil {
		i := int(r >> 32 * uint64(n) >> 32)
		j := int(r & 0xffffffff * uint64(n-1) >> 32)
		if j >= i {
			j++
		}
		return i, j
	}
	i, j := p.wheel.at(r), p.wheel.at(bits.RotateLeft64(r, 32)*golden)
	if i == j { // half of the line further is another node, unless this one has most of the weight
		if j = p.wheel.at(r + 1<<63); i == j {
			j = (i + 1) % n
		}
	}
	return i, j
}

// worse reports whether node i costs more than node j.
func (p *p2c) worse(i, j int, now uint32) bool {
	a, b := p.ready[i].load, p.ready[j].load
	va, vb := a.ewma.Load(), b.ewma.Load()
	d := p.queue(i, a) - p.queue(j, b)
	if va&0xffff|vb&0xffff != 0 {
		d += failureCost(va, now, p.inv) - failureCost(vb, now, p.inv)
	}
	if p.latency {
		d += latencyLead(va, vb, now, p.inv)
	}
	return d > 0
}

// queue is log2(1 + in-flight over relative weight).
func (p *p2c) queue(i int, l *Load) int32 {
	q := uint64(max(0, l.inflight.Load()))
	if p.scale == nil {
		return lg(1 + q)
	}
	return lg(256+q*uint64(p.scale[i])) - 8*fixed
}

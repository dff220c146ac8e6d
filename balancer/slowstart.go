package balancer

import (
	"math"
	"slices"
	"time"
)

// Slow start is Envoy's with aggression 1: the weight of a node grows with the
// time since it was first ready, from a tenth to all of it. It is for endpoints
// that join while others serve, or that turn from critical to healthy; not for
// the first set, and not for an old endpoint that enters this client's subset.

// slowStart lowers a node's weight until it is warm.
func (b *Balancer) slowStart(n *Node) {
	if b.cfg.SlowStart <= 0 {
		return
	}
	n.fresh, n.rampFrom = true, time.Time{}
	if n.State() == Ready {
		b.beginRamp(n)
	}
	b.setWeight(n)
}

func (b *Balancer) beginRamp(n *Node) {
	n.fresh, n.rampFrom = false, b.now
	b.ramping = append(b.ramping, n)
}

// rampOf is the factor of a node's weight.
func (b *Balancer) rampOf(n *Node) float64 {
	switch {
	case n.fresh:
		return rampFloor
	case n.rampFrom.IsZero():
		return 1
	}
	return min(1, max(rampFloor, float64(b.now.Sub(n.rampFrom))/float64(b.cfg.SlowStart)))
}

func (b *Balancer) setWeight(n *Node) {
	w := math.Float32bits(float32(float64(weightOf(n.Endpoint())) * b.rampOf(n)))
	if n.weight.Swap(w) != w && n.tier != nil {
		n.tier.weights = true
	}
}

// ramp moves the weights of all nodes in slow start.
func (b *Balancer) ramp() {
	b.ramping = slices.DeleteFunc(b.ramping, func(n *Node) bool {
		over := n.gone || n.rampFrom.IsZero() || b.now.Sub(n.rampFrom) >= b.cfg.SlowStart
		if over {
			n.rampFrom = time.Time{}
		}
		b.setWeight(n)
		return over
	})
	if len(b.ramping) > 0 {
		b.due(b.now.Add(b.cfg.SlowStart / rampSteps))
	}
}

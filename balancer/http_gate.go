package balancer

import (
	"math"
	"sync/atomic"
)

// gate counts who is inside and can be shut for good. Count and the retired bit
// are one word, so that nobody gets in between the last one leaving and the end.
type gate struct{ word atomic.Int64 }

const retired = math.MinInt64

// enter counts one in; false: the gate is shut.
func (g *gate) enter() bool {
	for {
		w := g.word.Load()
		if w < 0 {
			return false
		}
		if g.word.CompareAndSwap(w, w+1) {
			return true
		}
	}
}

// leave counts one out; true: it was the last one of a gate that is shut.
func (g *gate) leave() bool { return g.word.Add(-1) == retired }

// retire shuts the gate; true: nobody is inside. Only one call returns true, or
// one leave does.
func (g *gate) retire() bool { return g.word.Or(retired) == 0 }

// retireIdle shuts the gate if nobody is inside.
func (g *gate) retireIdle() bool { return g.word.CompareAndSwap(0, retired) }

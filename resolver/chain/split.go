package chain

import "math"

// shareScale is the sum of shares: steps of 0.01 %.
const shareScale = 10_000

// splitter is a compiled splitter as seen from one route.
type splitter struct {
	name     string
	branches []branch
	total    uint64 // of the weights
}

// branch is one split.
type branch struct {
	plan   *Plan
	weight uint32 // of shareScale
	salt   uint64 // makes its sticky draw its own
	arm    *arm   // what the guard leaves of it; nil: all
}

// weightNow is the weight times what the guard leaves, so of shareScale².
func (b *branch) weightNow() uint64 {
	if b.arm == nil {
		return uint64(b.weight) * shareScale
	}
	return uint64(b.weight) * uint64(b.arm.share.Load())
}

// active is the index of the branch that a switch or the policy names, or -1.
func (s *splitter) active(e *Evaluator) int {
	name := e.policy.Active
	if e.active != nil {
		if v := e.active.Subset(); v != "" {
			name = v
		}
	}
	if name == "" {
		return -1
	}
	return s.branch(name)
}

// branch is the index of the branch to a subset, or -1.
func (s *splitter) branch(subset string) int {
	for i := range s.branches {
		if s.branches[i].plan.Target.ServiceSubset == subset {
			return i
		}
	}
	return -1
}

// choose decides on a branch.
func (s *splitter) choose(e *Evaluator, rd *reading) *Plan {
	i, _ := s.pick(e, rd)
	return s.branches[i].plan
}

// How a branch was picked.
const (
	byActive = iota
	byKey
	byDraw
)

func (s *splitter) pick(e *Evaluator, rd *reading) (i, how int) {
	if i := s.active(e); i >= 0 {
		return i, byActive
	}
	if key, ok := e.key(rd); ok {
		return s.sticky(key), byKey
	}
	share := 0.0
	if rd.req.HasDraw {
		share = rd.req.Draw
	} else {
		share = e.draw()
	}
	return s.drawn(share), byDraw
}

// key is the sticky key of a request.
func (e *Evaluator) key(rd *reading) (uint64, bool) {
	if rd.req.Key != "" {
		return hashString(rd.req.Key), true
	}
	for i := range e.sticky {
		if h, ok := e.sticky[i].hash(rd); ok {
			return h, true
		}
	}
	return 0, false
}

// now is the sum of the weights that the guard leaves; 0 if it leaves nothing, which
// then counts as if it left everything.
func (s *splitter) now() (total uint64) {
	for i := range s.branches {
		total += s.branches[i].weightNow()
	}
	return total
}

// drawn is the branch at a share of the whole, 0 to below 1.
func (s *splitter) drawn(share float64) int {
	total := s.now()
	all := total == 0
	if all {
		total = s.total
	}
	if !(share > 0) {
		share = 0
	}
	at := min(uint64(share*float64(total)), total-1)
	last := 0
	for i := range s.branches {
		w := uint64(s.branches[i].weight)
		if !all {
			w = s.branches[i].weightNow()
		}
		if w == 0 {
			continue
		}
		if at < w {
			return i
		}
		at -= w
		last = i
	}
	return last // a guard changed meanwhile
}

// sticky is the branch of a key, by weighted rendezvous hashing: a key changes its
// branch only as far as the weights change, whatever their order.
func (s *splitter) sticky(key uint64) int {
	all := s.now() == 0
	best, at := math.Inf(1), -1
	for i := range s.branches {
		b := &s.branches[i]
		w := b.weightNow()
		if all {
			w = uint64(b.weight)
		}
		if w == 0 {
			continue
		}
		u := (float64(mix(key^b.salt)>>11) + 0.5) / (1 << 53)
		if score := -math.Log(u) / float64(w); score < best || at < 0 {
			best, at = score, i
		}
	}
	return max(at, 0)
}

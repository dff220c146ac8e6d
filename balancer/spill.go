package balancer

import (
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// spill is a tier's part in the division of the load.
type spill struct {
	healthy float64 // estimated share of the tier's capacity that works, 0 to 1
	cap     float64 // how much of it may be used; below 1 after a loss, see usable
	last    float64 // health with overprovisioning at the last look
	step    time.Time
	share   float64 // of all load
	panic   bool
}

func newSpill(trusted bool) spill {
	if trusted {
		return spill{healthy: 1, cap: 1, last: 1}
	}
	return spill{} // waits from the first look on
}

const epsilon = 1e-9

// usable is the part of h that the tier may take. A loss counts at once. A gain
// counts when it has lasted for wait without getting worse, and then in steps of
// 10 % of all, one per wait/10. again is when the next step is due, or zero.
func (s *spill) usable(h float64, wait time.Duration, now time.Time) (u float64, again time.Time) {
	switch {
	case wait < 0:
		s.cap = h
	case h <= s.cap+epsilon: // a loss, or nothing to gain
		s.cap, s.step = min(s.cap, h), time.Time{}
	case h < s.last-epsilon || s.step.IsZero():
		s.step = now.Add(wait)
	}
	for h > s.cap+epsilon && !s.step.After(now) {
		s.cap = min(h, s.cap+0.1)
		s.step = s.step.Add(max(wait/10, 1))
	}
	s.last = h
	if h > s.cap+epsilon {
		again = s.step
	}
	return min(h, s.cap), again
}

// lend raises the cap at once, because nobody else has the capacity.
func (s *spill) lend(by float64) { s.cap += by }

// divide is Envoy's priority formula: each tier takes what its health carries,
// scaled up if all together are below 1. If nothing is healthy the first takes all.
func divide(health []float64) []float64 {
	load := make([]float64, len(health))
	sum := 0.0
	for _, h := range health {
		sum += h
	}
	if len(load) == 0 {
		return load
	}
	if sum <= epsilon {
		load[0] = 1
		return load
	}
	norm, left := min(1, sum), 1.0
	for i, h := range health {
		load[i] = min(left, h/norm)
		left -= load[i]
		if left < epsilon {
			break
		}
	}
	if left > 0 { // what rounding left over
		for i := range load {
			if load[i] > 0 {
				load[i] += left
				break
			}
		}
	}
	return load
}

// spread divides the load over the tiers.
func (b *Balancer) spread() {
	health := make([]float64, len(b.tiers))
	use := make([]float64, len(b.tiers))
	all, used := 0.0, 0.0
	for i, t := range b.tiers {
		t.spill.healthy = t.catalogHealth() * b.connHealth(t)
		health[i] = min(1, b.cfg.Overprovision*t.spill.healthy)
		u, again := t.spill.usable(health[i], b.cfg.FailbackAfter, b.now)
		b.due(again)
		use[i] = u
		all += health[i]
		used += u
	}
	for i, t := range b.tiers {
		if lack := 1 - used; lack > epsilon && health[i] > use[i] {
			by := min(lack, health[i]-use[i])
			t.spill.lend(by)
			use[i] += by
			used += by
		}
		panic := all < 1-epsilon && t.spill.healthy < b.cfg.PanicBelow
		if panic != t.spill.panic {
			t.spill.panic, t.dirty = panic, true
			t.best.full, t.best.list = false, t.best.list[:0] // others are eligible now
		}
	}
	for i, load := range divide(use) {
		b.tiers[i].spill.share = load
	}
}

// catalogHealth is the share of the tier's weight that is not critical.
func (t *tier) catalogHealth() float64 {
	if t.weight == 0 {
		return 0
	}
	return float64(t.aliveWeight) / float64(t.weight)
}

// connHealth is the share of the chosen nodes' weight that can be reached, as an
// estimate for the whole tier: the catalog's critical ones are counted there.
func (b *Balancer) connHealth(t *tier) float64 {
	sum, good := 0.0, 0.0
	for _, n := range t.nodes {
		ep := n.Endpoint()
		if ep.Health != resolver.Critical {
			w := float64(weightOf(ep))
			sum += w
			if b.reachable(n) {
				good += w
			}
		}
	}
	if sum == 0 {
		return 1
	}
	return good / sum
}

// reachable: a node is given the benefit of the doubt on its first attempt to
// connect, and for a moment after it lost its connection. One that is ejected,
// degraded or in a closed cloud is none that the load can count on.
func (b *Balancer) reachable(n *Node) bool {
	if b.waits(n.load.ejected.Load()) || b.waits(n.load.degraded.Load()) || b.shut(n) {
		return false
	}
	switch {
	case n.State() == Ready:
		return true
	case !n.failedAt.IsZero() || n.unproven:
		return false
	case !n.lostAt.IsZero():
		until := n.lostAt.Add(lostGrace)
		if until.After(b.now) {
			b.due(until)
			return true
		}
		return false
	}
	return true
}

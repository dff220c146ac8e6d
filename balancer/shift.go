package balancer

import (
	"github.com/weft-mesh/weft/resolver"
)

// ShiftKind says what a Shift is.
type ShiftKind uint8

// The kinds. Each first one is followed by its second one, at the latest by Close.
const (
	PanicEntered    ShiftKind = iota // the health of a tier is ignored from now on
	PanicLeft                        // of no tier any more
	FailoverStarted                  // load leaves the preferred tier
	FailoverEnded                    // the preferred tier has all of it again
)

// Shift is a turn in how a Balancer spreads its load.
type Shift struct {
	// Kind says what begins or ends.
	Kind ShiftKind
	// Service is the name of the newest snapshot.
	Service string
	// From is the place of the preferred tier; of a panic, of the tier that panics.
	From resolver.Locality
	// To is the place of the tier that has most of the rest, ToService whose endpoints
	// it has: chains fail over to other services too. Empty: not a start of failover.
	To        resolver.Locality
	ToService string
	// Share is the share of all load that From has left, Healthy the estimated share of
	// its capacity that works. 0 to 1.
	Share, Healthy float64
	// Closed: it ends because the Balancer was closed.
	Closed bool
}

// shifts is what Config.OnShift is told from. Guarded by Balancer.mu.
type shifts struct {
	panic bool
	away  bool              // load has left home
	home  tierKey           // the tier that had all load, the preferred one at that time
	at    resolver.Locality // of home
	known bool              // home is set
	news  []Shift           // to be told
}

// shift compares how the load is spread with how it was. A tier that appears while
// another one serves gets its load slowly: that is no failover, for it had none yet.
func (b *Balancer) shift() {
	if b.cfg.OnShift == nil || len(b.tiers) == 0 {
		return
	}
	b.shiftPanic()
	s, first := &b.shifts, b.tiers[0]
	whole := first.spill.share >= 1-epsilon && first.spill.healthy > 0
	if !s.known && (whole || b.cfg.Overprovision*first.spill.healthy < 1-epsilon) {
		s.home, s.at, s.known = first.key, first.label(b.cfg.Local), true // at the start also if it is ill
	}
	at := first.key == s.home
	_, exists := b.byKey[s.home]
	back := at || exists || b.nearer(first.key, s.home) // else home is gone, and first is what is left
	switch to := b.rest(); {
	case !s.known:
	case whole && back:
		if s.away {
			s.away = false
			b.news(Shift{Kind: FailoverEnded, From: first.label(b.cfg.Local), Share: 1, Healthy: first.spill.healthy})
		}
		s.home, s.at = first.key, first.label(b.cfg.Local)
	case !s.away && to != nil && (at || !back):
		s.away = true
		n := Shift{Kind: FailoverStarted, From: s.at, To: to.label(b.cfg.Local), ToService: to.service()}
		if at {
			n.Share, n.Healthy = first.spill.share, first.spill.healthy
		}
		b.news(n)
	}
}

func (b *Balancer) shiftPanic() {
	t := b.tiers[0]
	panicking := false
	for _, p := range b.tiers {
		if p.spill.panic {
			t, panicking = p, true
			break
		}
	}
	if panicking == b.shifts.panic {
		return
	}
	b.shifts.panic = panicking
	kind := PanicLeft
	if panicking {
		kind = PanicEntered
	}
	b.news(Shift{Kind: kind, From: t.label(b.cfg.Local), Share: t.spill.share, Healthy: t.spill.healthy})
}

// rest is the tier with most of the load beside home; nil: none has any.
func (b *Balancer) rest() (most *tier) {
	for _, t := range b.tiers {
		if t.key != b.shifts.home && t.spill.share > epsilon && (most == nil || t.spill.share > most.spill.share) {
			most = t
		}
	}
	return most
}

// nearer reports whether x is preferred to y, which may not exist any more,
// whatever their round-trip times.
func (b *Balancer) nearer(x, y tierKey) bool {
	switch {
	case x.order != y.order:
		return x.order < y.order
	case x.rank != y.rank:
		return x.rank < y.rank
	}
	return b.cloudOrder(x.cloud) < b.cloudOrder(y.cloud)
}

// service is whose endpoints the tier has, as far as they are of one service.
func (t *tier) service() string {
	if len(t.nodes) == 0 {
		return ""
	}
	return clip(t.nodes[0].Endpoint().Service)
}

// news keeps a Shift until it can be told without a lock held.
func (b *Balancer) news(s Shift) {
	s.Service = b.service()
	b.shifts.news = append(b.shifts.news, s)
}

// endShifts ends what has begun, before the Balancer is closed.
func (b *Balancer) endShifts() {
	s := &b.shifts
	if s.panic {
		b.news(Shift{Kind: PanicLeft, From: s.at, Closed: true})
	}
	if s.away {
		b.news(Shift{Kind: FailoverEnded, From: s.at, Closed: true})
	}
	s.panic, s.away = false, false
}

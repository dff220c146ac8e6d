package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// table is what picks read; immutable.
type table struct {
	pickers []Picker // one per tier, in the order of preference
	upTo    []uint64 // the tiers' shares summed up, scaled to 2^64
	only    int      // the one tier that has all the load, or -1
	err     error    // of a pick that finds nothing
}

// pick chooses a tier by share and a node in it, and goes on to the other tiers
// if it has none that is ready and not tried.
func (t *table) pick(c *Call) *Node {
	if len(t.pickers) == 0 {
		return nil
	}
	at := t.only
	if at < 0 {
		u := rand.Uint64()
		for at = 0; at < len(t.upTo)-1 && u >= t.upTo[at]; at++ {
		}
	}
	attempts := c.Attempts()
	if attempts >= 2 {
		at = min(at+attempts-1, len(t.pickers)-1)
	}
	n := t.pickers[at].Pick(c)
	if n != nil && (attempts == 0 || !c.Tried(n)) {
		return n
	}
	for i := range t.pickers {
		if attempts >= 2 { // further first
			i = (at + i) % len(t.pickers)
		}
		if i == at {
			continue
		}
		if m := t.pickers[i].Pick(c); m != nil && (n == nil || !c.Tried(m)) {
			n = m
			if attempts == 0 || !c.Tried(m) {
				break
			}
		}
	}
	return n
}

// settle carries a change through: tiers, shares, nodes, pickers. It is called
// with b.mu held and b.now set, and unlocks it.
func (b *Balancer) settle() {
	b.next = time.Time{}
	clear(b.clouds)
	b.orderTiers()
	b.spread()
	b.wants()
	closing := b.reconcile()
	b.shift()
	b.dropEmpty()
	clear(b.fresh)
	b.withhold()
	b.ramp()
	b.publish()
	b.withdraw(closing)
	b.arm()
	// At most a fifth of the time goes into this, however large the service.
	now := time.Now()
	b.quiet = now.Add(max(publishEvery, 4*now.Sub(b.now)))
	b.mu.Unlock()
	b.tell(closing)
}

// publish makes the pickers of the tiers that changed, and the table.
func (b *Balancer) publish() {
	t := &table{only: -1}
	total, live := 0.0, 0
	var shares []float64
	for _, r := range b.tiers {
		b.picker(r)
		live += r.live
		if len(r.nodes) == 0 {
			continue
		}
		t.pickers = append(t.pickers, r.picker)
		shares = append(shares, r.spill.share)
		total += r.spill.share
	}
	acc := 0.0
	for i, s := range shares {
		if acc += s; s > 0 && s >= total-epsilon || total <= 0 && i == 0 {
			t.only = i
		}
		t.upTo = append(t.upTo, upTo(acc/max(total, epsilon)))
	}
	if b.served = b.served || live > 0; live == 0 {
		t.err = b.explain()
	} else {
		t.err = ErrNotReady // the readiness was lost a moment ago; a publish follows
	}
	b.table.Store(t)
}

// upTo scales a part of 1 to the range of a random uint64. The sum of the shares
// may miss 1 by rounding; what is left over belongs to the last tier that has any.
func upTo(part float64) uint64 {
	if part >= 1-epsilon {
		return math.MaxUint64
	}
	return uint64(part * (1 << 63) * 2)
}

// picker makes a tier's picker if something that it depends on has changed.
func (b *Balancer) picker(t *tier) {
	before := len(t.ready)
	same := t.picker != nil && !t.weights && (!b.bounded || t.shared == t.spill.share)
	live := 0
	for _, n := range t.nodes {
		if n.Ready() {
			same = same && live < before && t.ready[live] == n
			live++
		}
	}
	t.live = live
	if old, ok := t.picker.(*tierPicker); same && live == before && ok && sameNodes(old.nodes, t.nodes) {
		return
	}
	if t.weights {
		t.nodes, t.weights = slices.Clone(t.nodes), false
	}
	if live == len(t.nodes) {
		t.ready = t.nodes
	} else {
		t.ready = make([]*Node, 0, live)
		for _, n := range t.nodes {
			if n.Ready() && len(t.ready) < live {
				t.ready = append(t.ready, n)
			}
		}
	}
	var prev Picker
	if old, ok := t.picker.(*tierPicker); ok {
		prev = old.Picker
	}
	set := Set{Nodes: t.nodes, Ready: t.ready, share: t.spill.share}
	if b.bounded {
		set.total = &b.inflight
	}
	t.picker, t.shared = &tierPicker{b.cfg.Policy.NewPicker(set, prev), t.nodes}, t.spill.share
}

// tierPicker remembers which nodes a picker was made for.
type tierPicker struct {
	Picker
	nodes []*Node
}

// withdraw marks nodes that are no longer in the table, before they are closed.
func (b *Balancer) withdraw(closing []*Node) {
	for _, n := range closing {
		n.gone, n.tier = true, nil
		n.state.Store(uint32(Idle))
		b.cfg.Store.release(n.ID)
		if n.host != nil {
			n.host.Leave()
		}
	}
}

// tell closes connections and calls Config.OnShift and Published, never twice at a time: a
// caller that finds it running leaves the next round to it. It is called without b.mu.
func (b *Balancer) tell(closing []*Node) {
	for _, n := range closing {
		if n.conn != nil {
			n.conn.Close()
		}
	}
	if b.tr.Published == nil && b.cfg.OnShift == nil {
		return
	}
	b.mu.Lock()
	b.again = true
	for !b.telling && b.again {
		b.telling, b.again = true, false
		news := b.shifts.news
		b.shifts.news = nil
		b.mu.Unlock()
		for _, n := range news {
			b.cfg.OnShift(n)
		}
		if b.tr.Published != nil {
			b.tr.Published()
		}
		b.mu.Lock()
		b.telling = false
	}
	b.mu.Unlock()
}

// due asks for another settle at t; zero asks for nothing.
func (b *Balancer) due(t time.Time) {
	if !t.IsZero() && (b.next.IsZero() || t.Before(b.next)) {
		b.next = t
	}
}

// arm sets the timer to b.next, unless it fires before that anyway.
func (b *Balancer) arm() {
	if b.next.IsZero() || !b.timerAt.IsZero() && !b.next.Before(b.timerAt) {
		return
	}
	b.disarm()
	b.timerAt = b.next
	b.timers.Add(1)
	b.timer = time.AfterFunc(b.next.Sub(b.now), b.tick)
}

func (b *Balancer) disarm() {
	if b.timer != nil && b.timer.Stop() {
		b.timers.Done()
	}
	b.timer, b.timerAt = nil, time.Time{}
}

func (b *Balancer) tick() {
	defer b.timers.Done()
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.now = time.Now()
	if !b.timerAt.After(b.now) {
		b.timer, b.timerAt = nil, time.Time{}
	}
	b.settle()
}

// explain says why there is nothing to pick.
func (b *Balancer) explain() error {
	var reason error
	state := resolver.Unknown
	if b.snap != nil {
		reason, state = b.snap.Reason, b.snap.State
	}
	why := ""
	if reason != nil {
		why = fmt.Sprintf(" (catalog is %s: %.300s)", state, reason)
	}
	critical, connecting, failed, out := 0, 0, 0, 0
	for _, t := range b.tiers {
		critical += t.count - t.alive
		for _, n := range t.nodes {
			if n.State() == Ready && !n.Ready() {
				out++
			} else if n.failedAt.IsZero() {
				connecting++
			} else {
				failed++
			}
		}
	}
	switch {
	case !b.known:
		return fmt.Errorf("%w: the catalog has not answered for service %q%s", ErrNotReady, b.service(), why)
	case len(b.list) == 0 && b.outside > 0:
		return fmt.Errorf("%w: none of the %d instances of service %q is where policy lets calls go, or of the subset that is called%s", ErrNoEndpoint, b.outside, b.service(), why)
	case len(b.list) == 0:
		return fmt.Errorf("%w: the catalog knows no instance of service %q%s; check the name, or whether it is registered", ErrNoEndpoint, b.service(), why)
	case connecting > 0:
		return fmt.Errorf("%w: service %q, %d connecting, %d failed%s", ErrNotReady, b.service(), connecting, failed, why)
	case out > 0:
		return fmt.Errorf("%w: %d connected endpoints of service %q are ejected or in a cloud whose breaker is open, %d failed%s", ErrNoEndpoint, out, b.service(), failed, why)
	case failed > 0 && b.err != nil:
		return fmt.Errorf("balancer: none of %d endpoints of service %q can be connected%s; the newest error: %w", failed, b.service(), why, b.err)
	case failed > 0:
		return fmt.Errorf("%w: none of %d endpoints of service %q can be connected%s", ErrNoEndpoint, failed, b.service(), why)
	}
	return fmt.Errorf("%w: %d of %d instances of service %q are critical in the catalog%s; check their health checks", ErrNoEndpoint, critical, len(b.list), b.service(), why)
}

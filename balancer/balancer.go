package balancer

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// ErrNoEndpoint means that the service has no endpoint that could be picked:
// the catalog knows none, or none is left after health and policy.
var ErrNoEndpoint = errors.New("balancer: no endpoint")

// ErrNotReady means that endpoints exist and none is connected yet, or that the
// catalog has not answered yet: wait for the next publish and pick again.
var ErrNotReady = errors.New("balancer: no endpoint is connected yet")

// Connector is what a Balancer needs from the face that connects its nodes.
type Connector struct {
	// Connect is called when a node joins the set to be connected; it must be set.
	// The face reports progress with Balancer.SetState. It must not block or call
	// the Balancer before it returns. The node's state is read after it returned: a
	// face whose nodes need no connection to be picked makes them Ready here.
	Connect func(*Node) Conn
	// Published is called after a new picker took effect, so that waiting picks
	// can be repeated. It is called without a lock held, and not concurrently; it
	// must not call Close. nil: nobody waits.
	Published func()
}

// Balancer chooses among the endpoints of one service. Update, SetState and
// Close may block briefly on a mutex; Pick never does. DESIGN.md beside this
// file says how state, locks and publishing fit together.
type Balancer struct {
	cfg     Config
	tr      Connector
	seed    uint64  // of the subset
	inv     float32 // see decay
	bounded bool    // attempts in flight are counted per Balancer too

	table    atomic.Pointer[table]
	inflight atomic.Int64
	timers   sync.WaitGroup // timer callbacks that are due or running

	mu      sync.Mutex
	closed  bool
	now     time.Time // when the current change began
	snap    *resolver.Snapshot
	list    []*resolver.Endpoint // of snap, in order, without what Config.Rank leaves out
	outside int                  // how many that leaves out
	known   bool                 // the catalog has answered once
	began   time.Time            // when it did
	served  bool                 // some node has been ready
	clouds  map[string]time.Time // until when they are closed; of the current settle
	warm    bool                 // warm connections are allowed
	err     error                // the newest connection error
	byKey   map[tierKey]*tier
	tiers   []*tier // in the order of preference
	spare   map[resolver.ID]spareNode
	fresh   map[*resolver.Endpoint]struct{} // joined in the current change
	arrived map[string]bool                 // sources that answered for the first time with the newest snapshot
	ramping []*Node
	shifts  shifts

	timer   *time.Timer
	timerAt time.Time // zero: not armed
	next    time.Time // what the current change wants the timer to be; zero: nothing
	quiet   time.Time // no publish before it, unless it is urgent
	telling bool      // Published is running
	again   bool      // and must run again
}

// New makes a Balancer. It does no I/O and starts nothing. It refuses a Config
// with senseless values, naming the field.
func New(cfg Config, tr Connector) (*Balancer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if tr.Connect == nil {
		return nil, fmt.Errorf("balancer: Connector.Connect is nil")
	}
	b := &Balancer{
		cfg:    cfg,
		tr:     tr,
		seed:   HashString(cfg.SubsetKey),
		inv:    inverseDecay(defaultDecay),
		byKey:  map[tierKey]*tier{},
		spare:  map[resolver.ID]spareNode{},
		clouds: map[string]time.Time{},
	}
	switch p := cfg.Policy.(type) {
	case PeakEWMA:
		b.inv = p.inverse()
	case RingHash:
		b.bounded = p.LoadFactor >= 0
	case Maglev:
		b.bounded = p.LoadFactor >= 0
	}
	b.table.Store(&table{err: b.explain()})
	return b, nil
}

// Update takes a new snapshot. Nodes whose endpoint is unchanged keep their
// connection and state; an endpoint that the catalog gives as the same pointer
// costs one comparison. An endpoint whose address, protocol or expected SPIFFE ID
// changed gets a new node with the Load of the old one. A snapshot in state
// Unknown keeps what was known before. After Close, Update does nothing.
func (b *Balancer) Update(s *resolver.Snapshot) {
	if s == nil {
		return
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.now = time.Now()
	b.arrived = arrived(b.snap, s)
	b.snap = s
	if s.State != resolver.Unknown {
		list := b.kept(sorted(b.list, s.Endpoints))
		// What policy leaves nothing of may be in a source that has yet to answer.
		if !b.known && (len(list) > 0 || b.outside == 0 || !unanswered(s)) {
			b.known, b.began = true, b.now
			b.cfg.Store.join(b)
		}
		diff(b.list, list, b.change)
		b.list = list
	}
	b.settle() // unlocks
}

// unanswered reports whether a source has not answered once.
func unanswered(s *resolver.Snapshot) bool {
	return slices.ContainsFunc(s.Sources, func(src resolver.SourceStatus) bool { return src.State == resolver.Unknown })
}

// answered reports whether the catalog has answered once, so that having nothing means that there is nothing.
func (b *Balancer) answered() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known
}

// SetState reports the state of a node's connection; err is why it is Failed.
// Reports about a node whose Conn was closed are ignored.
func (b *Balancer) SetState(n *Node, s ConnState, err error) {
	b.mu.Lock()
	if b.closed || n.gone {
		b.mu.Unlock()
		return
	}
	b.now = time.Now()
	live := n.Ready()
	was := n.setConn(s)
	switch {
	case s == Ready:
		n.load.refused.Store(0)
		n.failedAt, n.lostAt, n.unproven = time.Time{}, time.Time{}, false
		if n.fresh {
			b.beginRamp(n)
		}
	case s == Failed:
		if n.failedAt.IsZero() {
			n.failedAt = b.now
		}
		n.load.refused.CompareAndSwap(0, Now())
		if err != nil {
			b.err = err
		}
	case was == Ready:
		n.lostAt = b.now
	}
	urgent := false
	if t := n.tier; t != nil && n.Ready() != live {
		if !live {
			t.live++
			urgent = t.live == 1
			b.served = true
		} else {
			t.live--
			urgent = 2*t.live <= len(t.ready)
		}
	}
	if !urgent && b.quiet.After(b.now) {
		b.due(b.quiet)
		b.arm()
		b.mu.Unlock()
		return
	}
	b.settle() // unlocks
}

// Pick chooses a node for one attempt and counts the attempt in flight until
// Node.Done. The error is ErrNotReady while waiting helps, else ErrNoEndpoint or
// the reason why no endpoint could be connected; both say more in their text.
//
// The first attempt of a call goes to a tier by its share of the load. Later
// ones avoid the nodes that were tried, and from the third on prefer the next
// tiers: first another node, then another place.
func (b *Balancer) Pick(c *Call) (*Node, error) {
	t := b.table.Load()
	for range 4 {
		n := t.pick(c)
		if n == nil {
			return nil, t.err
		}
		n.begin()
		// The Balancer withdraws readiness before it closes a connection: a node
		// that is ready now, counted, was picked before its connection closed.
		if n.Ready() {
			c.chose(n)
			return n, nil
		}
		n.undo()
		t = b.table.Load()
	}
	return nil, ErrNotReady
}

// State is the aggregate of the nodes' connections: Ready if a call can be sent,
// Connecting if one may soon be, Failed with the newest connection error if none
// can be reached, Idle if there is nothing to connect.
func (b *Balancer) State() (ConnState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	best := Idle
	for _, t := range b.tiers {
		if t.live > 0 {
			return Ready, nil
		}
		for _, n := range t.nodes {
			if n.State() == Ready { // barred: picks say why
				return Ready, nil
			}
			if n.failedAt.IsZero() {
				best = Connecting
			} else if best == Idle {
				best = Failed
			}
		}
	}
	if best == Failed {
		return Failed, b.err
	}
	return best, nil
}

// Close closes the connections of all nodes and waits for whatever the Balancer
// started. Picks fail from then on. It is idempotent.
func (b *Balancer) Close() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		b.timers.Wait()
		return
	}
	b.closed = true
	b.cfg.Store.leave(b)
	b.disarm()
	var closing []*Node
	for _, t := range b.tiers {
		closing = append(closing, t.nodes...)
	}
	for _, s := range b.spare {
		closing = append(closing, s.node)
	}
	b.table.Store(&table{err: fmt.Errorf("%w: the balancer of service %q is closed", ErrNoEndpoint, b.service())})
	b.endShifts()
	b.withdraw(closing)
	b.tiers, b.spare = nil, nil
	b.mu.Unlock()
	b.tell(closing)
	b.timers.Wait()
}

func (b *Balancer) service() string {
	if b.snap == nil {
		return ""
	}
	return clip(b.snap.Service)
}

// clip bounds foreign text that goes into an error.
func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

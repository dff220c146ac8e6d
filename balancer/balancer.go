package balancer

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// ErrNoEndpoint means that the service has no endpoint that could be picked:
// the catalog knows none, or none is left after health and policy.
var ErrNoEndpoint = errors.New("balancer: no endpoint")

// ErrNotReady means that endpoints exist and none is connected yet: wait for the
// next publish and pick again.
var ErrNotReady = errors.New("balancer: no endpoint is connected yet")

// Config says how a Balancer chooses. The zero value is a safe default.
type Config struct {
	// Policy chooses within a tier. nil: PeakEWMA{}.
	Policy Policy
	// Local is where the caller runs. A zero field is unknown and ranks nothing.
	Local resolver.Locality
	// CloudOrder is the order in which other clouds are used when the local one
	// has no capacity. Clouds that are not named come after it, in the order of
	// RoundTrip, then by name. Empty: all by RoundTrip, then by name.
	CloudOrder []string
	// RoundTrip gives the measured round-trip time to a cloud, 0 if unknown. nil: none is known.
	RoundTrip func(cloud string) time.Duration
	// SubsetSize is how many endpoints of a tier are connected. 0: 16; negative: all.
	SubsetSize int
	// SubsetKey makes the choice of the subset this client's own: give each
	// process a stable, different value. Empty: random per process.
	SubsetKey string
	// WarmConns is how many endpoints of each tier that takes no traffic are kept
	// connected, for an instant failover. 0: 2; negative: none.
	WarmConns int
	// Overprovision is the capacity that each tier is assumed to have above its
	// load: below 1/Overprovision healthy, traffic spills to the next tier.
	// 0: 1.4 (Envoy overprovisioning_factor 140).
	Overprovision float64
	// PanicBelow is the healthy share of a tier below which its health is ignored,
	// when all tiers together cannot carry the load. 0: 0.5 (Envoy
	// healthy_panic_threshold); negative: never.
	PanicBelow float64
	// FailbackAfter is how long a recovered tier must stay healthy before traffic
	// returns to it, 10 % of all per FailbackAfter/10. 0: 10 s; negative: at once.
	FailbackAfter time.Duration
	// SlowStart is how long a new endpoint takes to reach its full weight, from
	// 10 %. 0: 30 s; negative: none.
	SlowStart time.Duration
	// Store keeps load state across balancers. nil: one of its own.
	Store *Store
}

// Connector is what a Balancer needs from the face that connects its nodes.
type Connector struct {
	// Connect is called when a node joins the set to be connected. The face
	// reports progress with Balancer.SetState. It must not block or call the Balancer
	// before it returns. The node's state is read after it returned: a face whose
	// nodes need no connection to be picked makes them Ready here.
	Connect func(*Node) Conn
	// Published is called after a new picker took effect, so that waiting picks
	// can be repeated. It is called without a lock held, and not concurrently.
	// nil: nobody waits.
	Published func()
}

// Balancer chooses among the endpoints of one service. Update, SetState and
// Close may block briefly on a mutex; Pick never does.
type Balancer struct {
	cfg   Config
	tr    Connector
	table atomic.Pointer[table]

	mu     sync.Mutex
	closed bool
	nodes  map[resolver.ID]*Node
	err    error // the newest connection error
}

// table is what picks read; immutable.
type table struct {
	picker Picker
	known  bool // the catalog has answered
	nodes  int
	err    error // why no endpoint can be reached
}

// New makes a Balancer. It does no I/O and starts nothing.
func New(cfg Config, tr Connector) (*Balancer, error) {
	if cfg.Policy == nil {
		cfg.Policy = RoundRobin{}
	}
	if cfg.Store == nil {
		cfg.Store = &Store{}
	}
	b := &Balancer{cfg: cfg, tr: tr, nodes: map[resolver.ID]*Node{}}
	b.table.Store(&table{})
	return b, nil
}

// Update takes a new snapshot. Nodes whose endpoint is unchanged keep their
// connection and state. An endpoint whose address or expected SPIFFE ID changed
// gets a new node with the Load of the old one. After Close, Update and SetState
// do nothing.
func (b *Balancer) Update(s *resolver.Snapshot) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	var gone []*Node
	seen := map[resolver.ID]bool{}
	for _, ep := range s.Endpoints {
		seen[ep.ID] = true
		n := b.nodes[ep.ID]
		if old := n; n != nil && (n.Endpoint().Addr != ep.Addr || n.Endpoint().SPIFFEID != ep.SPIFFEID) {
			n = nil
			gone = append(gone, old)
			defer b.cfg.Store.release(ep.ID)
		}
		if n == nil {
			n = &Node{ID: ep.ID, load: b.cfg.Store.acquire(ep.ID)}
			n.endpoint.Store(ep)
			n.conn = b.tr.Connect(n)
			b.nodes[ep.ID] = n
		}
		n.endpoint.Store(ep)
	}
	for id, n := range b.nodes {
		if !seen[id] {
			gone = append(gone, n)
			delete(b.nodes, id)
			b.cfg.Store.release(id)
		}
	}
	b.publishLocked(s.State != resolver.Unknown)
	b.mu.Unlock()
	for _, n := range gone { // after publishing: no new pick finds them
		n.conn.Close()
	}
	b.published()
}

// SetState reports the state of a node's connection; err is why it is Failed.
func (b *Balancer) SetState(n *Node, s ConnState, err error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	n.state.Store(uint32(s))
	if s == Failed && err != nil {
		b.err = err
	}
	b.publishLocked(b.table.Load().known)
	b.mu.Unlock()
	b.published()
}

// Pick chooses a node for one attempt and counts the attempt in flight until
// Node.Done. The error is ErrNotReady while waiting helps, else ErrNoEndpoint or
// the reason why no endpoint could be connected.
func (b *Balancer) Pick(c *Call) (*Node, error) {
	t := b.table.Load()
	if t.picker != nil {
		if n := t.picker.Pick(c); n != nil {
			n.load.inflight.Add(1)
			c.chose(n)
			return n, nil
		}
	}
	if t.known && t.nodes == 0 {
		return nil, ErrNoEndpoint
	}
	if t.err != nil {
		return nil, t.err
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
	for _, n := range b.nodes {
		switch s := n.State(); {
		case s == Ready:
			return Ready, nil
		case s == Connecting || best == Idle:
			best = s
		}
	}
	return best, b.err
}

// Close closes the connections of all nodes and waits for whatever the Balancer
// started. It is idempotent.
func (b *Balancer) Close() {
	b.mu.Lock()
	b.closed = true
	nodes := b.nodes
	b.nodes = map[resolver.ID]*Node{}
	b.publishLocked(false)
	b.mu.Unlock()
	for id, n := range nodes {
		b.cfg.Store.release(id)
		n.conn.Close()
	}
}

func (b *Balancer) publishLocked(known bool) {
	set := Set{}
	failed := 0
	for _, n := range b.nodes {
		if n.State() == Failed {
			failed++
		}
		set.Nodes = append(set.Nodes, n)
		if n.Ready() {
			set.Ready = append(set.Ready, n)
		}
	}
	t := &table{picker: b.cfg.Policy.NewPicker(set, nil), known: known, nodes: len(set.Nodes)}
	if failed == len(set.Nodes) {
		t.err = b.err
	}
	b.table.Store(t)
}

func (b *Balancer) published() {
	if b.tr.Published != nil {
		b.tr.Published()
	}
}

// RoundRobin takes the ready nodes in turn.
type RoundRobin struct{}

type roundRobin struct {
	ready []*Node
	next  *atomic.Uint64
}

// NewPicker implements Policy.
func (RoundRobin) NewPicker(set Set, prev Picker) Picker {
	next := new(atomic.Uint64)
	if p, ok := prev.(roundRobin); ok {
		next = p.next
	}
	return roundRobin{set.Ready, next}
}

// Pick implements Picker.
func (p roundRobin) Pick(c *Call) *Node {
	for range p.ready {
		n := p.ready[p.next.Add(1)%uint64(len(p.ready))]
		if !c.Tried(n) {
			return n
		}
	}
	return nil
}

func (l *Load) done(_, _ int64, _ resilience.Outcome) { l.inflight.Add(-1) }

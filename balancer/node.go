package balancer

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// ConnState is the state of a node's connection, as its transport reports it.
type ConnState uint32

const (
	// Idle: no connection is wanted or made yet.
	Idle ConnState = iota
	// Connecting: the first attempt, or one after a loss, is under way.
	Connecting
	// Ready: calls can be sent.
	Ready
	// Failed: the last attempt to connect failed; the transport tries again after a backoff.
	Failed
)

// Conn is what a transport holds for one node. Close is called once, when the
// node leaves the set of nodes to be connected; calls in flight must finish.
type Conn interface{ Close() }

// Node is an endpoint with live state, as one Balancer sees it. Its identity
// never changes; the endpoint's weight, health and metadata may.
type Node struct {
	// ID is the endpoint's identity.
	ID resolver.ID

	endpoint atomic.Pointer[resolver.Endpoint]
	state    atomic.Uint32
	ramp     atomic.Uint32 // slow start: float32 bits of the factor in (0,1]
	load     *Load
	conn     Conn // set before the node is published, then read-only
}

// Endpoint is the newest description of the node's endpoint.
func (n *Node) Endpoint() *resolver.Endpoint { return n.endpoint.Load() }

// Conn is what the transport's connect function returned for the node.
func (n *Node) Conn() Conn { return n.conn }

// State is the state of the node's connection.
func (n *Node) State() ConnState { return ConnState(n.state.Load()) }

// Ready reports whether a call can be sent to the node now.
func (n *Node) Ready() bool { return n.State() == Ready }

// Load is the node's live load, shared by all balancers of the process that
// reach the same endpoint through the same [Store].
func (n *Node) Load() *Load { return n.load }

// Weight is the endpoint's weight, lowered while the node is in slow start.
func (n *Node) Weight() float64 {
	return float64(n.Endpoint().Weight) * float64(math.Float32frombits(n.ramp.Load()))
}

// Done ends an attempt that a pick began at start (a value of [Now]).
func (n *Node) Done(start int64, o resilience.Outcome) { n.load.done(start, Now(), o) }

// Load is the live load of an endpoint. All methods are safe for concurrent use
// and take no lock.
type Load struct {
	inflight atomic.Int64
	ewma     atomic.Uint64 // see ewma.go
}

// InFlight is the number of attempts begun and not done.
func (l *Load) InFlight() int64 { return l.inflight.Load() }

// Store keeps the Load of endpoints by identity, so that it survives catalog
// updates, re-dialled channels and channels that went idle, and is shared by
// gRPC and HTTP. The zero value is ready to use.
type Store struct {
	mu    sync.Mutex
	loads map[resolver.ID]*stored
}

type stored struct {
	load Load
	refs int
	idle time.Time // when refs became 0
}

// keepIdle is how long a Load outlives the last balancer that used it.
const keepIdle = 30 * time.Minute

func (s *Store) acquire(id resolver.ID) *Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loads == nil {
		s.loads = map[resolver.ID]*stored{}
	}
	e := s.loads[id]
	if e == nil {
		e = &stored{}
		s.loads[id] = e
	}
	e.refs++
	return &e.load
}

func (s *Store) release(id resolver.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.loads[id]; e != nil {
		if e.refs--; e.refs == 0 {
			e.idle = time.Now()
		}
	}
}

// sweep forgets what nobody has used for keepIdle.
func (s *Store) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.loads {
		if e.refs == 0 && now.Sub(e.idle) > keepIdle {
			delete(s.loads, id)
		}
	}
}

var epoch = time.Now()

// Now is the package's monotonic clock, in nanoseconds.
func Now() int64 { return int64(time.Since(epoch)) }

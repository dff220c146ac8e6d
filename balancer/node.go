package balancer

import (
	"math"
	"strconv"
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

// String is "idle", "connecting", "ready" or "failed".
func (s ConnState) String() string {
	switch s {
	case Idle:
		return "idle"
	case Connecting:
		return "connecting"
	case Ready:
		return "ready"
	case Failed:
		return "failed"
	}
	return "state(" + strconv.Itoa(int(s)) + ")"
}

// Conn is what a transport holds for one node. Close is called once, when the
// node leaves the set of nodes to be connected; calls in flight must finish.
//
// A pick that began before Close may still return the node just after it. The
// transport treats such an attempt as unsent and picks again.
type Conn interface{ Close() }

// Node is an endpoint with live state, as one Balancer sees it. Its identity
// never changes; the endpoint's weight, health and metadata may.
type Node struct {
	// What a pick reads comes first and shares a cache line.
	state    atomic.Uint32 // ConnState, and barred
	weight   atomic.Uint32 // float32 bits: the endpoint's weight, lowered in slow start
	load     *Load
	own      atomic.Int64  // attempts of this Balancer in flight; counted if total is set
	total    *atomic.Int64 // the Balancer's attempts in flight, or nil if nobody asks
	invDecay float32       // see decay
	endpoint atomic.Pointer[resolver.Endpoint]
	conn     Conn // this and the next two are set before the node is published, then read-only
	host     *resilience.OutlierHost
	observe  func(*Node, resilience.Outcome, time.Duration)

	// ID is the endpoint's identity.
	ID resolver.ID

	// The rest is guarded by Balancer.mu.
	tier     *tier
	failedAt time.Time // when it failed to connect and has not been ready since
	lostAt   time.Time // when it stopped being ready and has not failed since
	rampFrom time.Time // begin of slow start; zero if it is over
	renew    bool      // another one is to take its place, with a connection of its own
	fresh    bool      // slow start begins with the first ready connection
	unproven bool      // took the place of a failed node and has not been ready yet
	gone     bool      // its connection is closed or about to be
	ejected  bool      // at the last look
}

// Endpoint is the newest description of the node's endpoint.
func (n *Node) Endpoint() *resolver.Endpoint { return n.endpoint.Load() }

// Conn is what the transport's connect function returned for the node.
func (n *Node) Conn() Conn { return n.conn }

// State is the state of the node's connection.
func (n *Node) State() ConnState { return ConnState(n.state.Load() &^ barred) }

// Ready reports whether a call may be sent to the node now: it is connected, and
// neither ejected nor in a closed cloud; see [Store.Eject] and [Store.CloseCloud].
func (n *Node) Ready() bool { return n.state.Load() == uint32(Ready) }

// Load is the node's live load, shared by all balancers of the process that
// reach the same endpoint through the same [Store].
func (n *Node) Load() *Load { return n.load }

// Weight is the endpoint's weight, lowered while the node is in slow start.
func (n *Node) Weight() float64 { return float64(math.Float32frombits(n.weight.Load())) }

// Done ends an attempt that a pick began at start (a value of [Now]). It must be
// called exactly once for each node that a pick returned.
func (n *Node) Done(start int64, o resilience.Outcome) { n.done(start, o) }

// done is Done, and returns when that was.
func (n *Node) done(start int64, o resilience.Outcome) (now int64) {
	if n.total != nil {
		n.own.Add(-1)
		n.total.Add(-1)
	}
	now = Now()
	if mute := n.saw(o, time.Duration(now-start)); mute {
		// Load goes elsewhere, as from a failure. The caller's deadline is no latency.
		o, start = resilience.Outcome{Class: resilience.Failure, Silent: true}, now
	}
	n.load.done(start, now, o, n.invDecay)
	return now
}

// doneStream ends a stream that was picked: only its failure counts as load, and
// that without a latency, while observers get all.
func (n *Node) doneStream(start int64, o resilience.Outcome) {
	o.Silent = false // a stream may be silent for as long as it likes
	counts := o
	if o.Class == resilience.Success {
		counts.Class = resilience.Neutral
	}
	if n.total != nil {
		n.own.Add(-1)
		n.total.Add(-1)
	}
	now := Now()
	n.load.done(now, now, counts, n.invDecay)
	n.saw(o, time.Duration(now-start))
}

// saw tells those who watch the node, and reports whether it seems to be mute.
func (n *Node) saw(o resilience.Outcome, took time.Duration) (mute bool) {
	switch {
	case n.host == nil:
	case o.Silent:
		usual, _ := n.load.Latency()
		mute = n.host.Silent(took, usual)
	default:
		n.host.Observe(o)
	}
	if n.observe != nil {
		n.observe(n, o, took)
	}
	return mute
}

// begin counts an attempt in flight.
func (n *Node) begin() {
	n.load.inflight.Add(1)
	if n.total != nil {
		n.own.Add(1)
		n.total.Add(1)
	}
}

// undo takes begin back.
func (n *Node) undo() {
	n.load.inflight.Add(-1)
	if n.total != nil {
		n.own.Add(-1)
		n.total.Add(-1)
	}
}

// usable reports whether an attempt of c may go to the node: it is ready and not tried.
func (n *Node) usable(c *Call) bool { return n.Ready() && !c.Tried(n) }

// weightOf is an endpoint's weight within its bounds. A catalog that breaks the
// contract with 0 means 1.
func weightOf(ep *resolver.Endpoint) uint32 { return min(max(ep.Weight, 1), resolver.MaxWeight) }

var epoch = time.Now()

// Now is the package's monotonic clock, in nanoseconds.
func Now() int64 { return int64(time.Since(epoch)) }

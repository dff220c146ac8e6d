package drill

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Fault is what is wrong with a host, as others see it over the network. Faults
// add up.
type Fault uint

const (
	// DropSYN: a new connection gets no answer.
	DropSYN Fault = 1 << iota
	// Refuse: a new connection is refused.
	Refuse
	// HoldIn: what is sent to the host does not arrive.
	HoldIn
	// HoldOut: what the host sends does not arrive.
	HoldOut
	// Stop: the host's process does nothing; its kernel still accepts.
	Stop

	// BlackHole: nothing comes through, either way.
	BlackHole = DropSYN | HoldIn | HoldOut
	// Deaf: requests arrive, answers are lost.
	Deaf = DropSYN | HoldOut
	// Frozen is a process under SIGSTOP.
	Frozen = Stop | HoldIn | HoldOut
)

// resent is how long after a fault what was held arrives: TCP sends it again.
const resent = 200 * time.Millisecond

// Net is a network in memory. What a fault holds back arrives after it, as TCP
// would send it again; what the caller's side has closed meanwhile does not.
type Net struct {
	latency func(from, to string) time.Duration

	mu        sync.Mutex
	rnd       *rand.Rand
	hosts     map[string]*host // by name
	listeners map[string]*Listener
	open      int
}

// host is the state of one host.
type host struct {
	fault  Fault
	extra  time.Duration
	change chan struct{} // closed and replaced with the state
	conns  map[*conn]struct{}
}

// NewNet makes a network. latency is the time from one host to another, one way; it
// varies by up to a tenth, by seed.
func NewNet(seed uint64, latency func(from, to string) time.Duration) *Net {
	return &Net{
		latency:   latency,
		rnd:       rand.New(rand.NewPCG(seed, 1)),
		hosts:     map[string]*host{},
		listeners: map[string]*Listener{},
	}
}

func (n *Net) hostLocked(name string) *host {
	h := n.hosts[name]
	if h == nil {
		h = &host{change: make(chan struct{}), conns: map[*conn]struct{}{}}
		n.hosts[name] = h
	}
	return h
}

// Break gives a host a fault in place of the one it has; 0 repairs it.
func (n *Net) Break(name string, f Fault) {
	n.mu.Lock()
	h := n.hostLocked(name)
	h.fault = f
	n.mu.Unlock()
	n.changed(h)
}

// Slow adds d to what the host sends and is sent, each way.
func (n *Net) Slow(name string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hostLocked(name).extra = d
}

// Kill is the end of the host's process: connections are reset, new ones refused.
func (n *Net) Kill(name string) {
	n.Break(name, Refuse)
	n.Reset(name)
}

// Reset breaks all connections of a host.
func (n *Net) Reset(name string) {
	n.mu.Lock()
	var all []*conn
	for c := range n.hostLocked(name).conns {
		all = append(all, c)
	}
	n.mu.Unlock()
	for _, c := range all {
		c.in.fail(syscall.ECONNRESET)
		c.out.fail(syscall.ECONNRESET)
	}
}

// changed wakes who waits for the state, connections included.
func (n *Net) changed(h *host) {
	n.mu.Lock()
	close(h.change)
	h.change = make(chan struct{})
	f := h.fault
	var all []*conn
	for c := range h.conns {
		all = append(all, c)
	}
	n.mu.Unlock()
	for _, c := range all {
		c.follow(f)
	}
}

// Open is how many ends of connections are not closed.
func (n *Net) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open
}

// await waits until a host has none of the faults.
func (n *Net) await(ctx context.Context, name string, f Fault, done <-chan struct{}) error {
	for {
		n.mu.Lock()
		h := n.hostLocked(name)
		bad, change := h.fault&f != 0, h.change
		n.mu.Unlock()
		if !bad {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
			return net.ErrClosed
		}
	}
}

// Dialer is how a host connects to others.
func (n *Net) Dialer(from string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := n.dial(ctx, from, addr)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return c, nil
	}
}

func (n *Net) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	if err := n.await(ctx, l.host, DropSYN, nil); err != nil {
		return nil, err
	}
	if err := pause(ctx, 2*n.delay(from, l.host)); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hostLocked(l.host)
	if h.fault&Refuse != 0 || n.listeners[addr] != l {
		return nil, syscall.ECONNREFUSED
	}
	caller, server := newPair(n, h, from, l)
	select {
	case l.in <- server:
	default:
		return nil, syscall.ECONNREFUSED // the backlog is full
	}
	h.conns[server] = struct{}{}
	n.open += 2
	server.follow(h.fault)
	return caller, nil
}

// delay is the time that something takes from one host to the other.
func (n *Net) delay(from, to string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.latency(from, to)
	d += time.Duration(float64(d) * 0.1 * n.rnd.Float64())
	return d + n.hostLocked(to).extra + n.hostLocked(from).extra
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

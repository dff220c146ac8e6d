package balancer

import (
	"fmt"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
)

// connect makes the SubConn of a node: one address, with the attributes that the
// resolver gave it, so that credentials see whom they must expect, and the SubConn
// itself, so that a dialer sees for how long it may try.
func (g *generation) connect(n *Node) Conn {
	c := &subConn{g: g, node: n}
	addr := g.in.Load().address(n.Endpoint(), &g.hint)
	addr.Attributes = addr.Attributes.WithValue(connKey{}, c)
	//lint:ignore SA1019 only a list of several addresses is deprecated
	sc, err := g.lb.cc.NewSubConn(
		[]grpcresolver.Address{addr},
		grpcbalancer.NewSubConnOptions{StateListener: c.onState})
	if err != nil {
		return c // the channel is closing: the node stays as it is, and nobody picks it
	}
	c.sc = sc
	n.state.Store(uint32(Connecting))
	sc.Connect()
	return c
}

// subConn is the Conn of a node.
type subConn struct {
	g      *generation
	node   *Node
	sc     grpcbalancer.SubConn // nil: none could be made
	closed atomic.Bool
	failed bool // only in onState

	failures atomic.Int32 // attempts in a row
	lateBy   atomic.Int64 // the bound that ended the newest attempt, in nanoseconds; 0: none did
}

// connKey is the key of a *subConn among its address's attributes.
type connKey struct{}

// late notes that an attempt is ended by its bound.
func (c *subConn) late(limit time.Duration) {
	if c != nil {
		c.lateBy.Store(int64(limit))
	}
}

// reason is why an attempt failed.
func (c *subConn) reason(err error) error {
	if limit := time.Duration(c.lateBy.Swap(0)); limit > 0 && err != nil {
		return fmt.Errorf("not connected within the ConnectTimeout, %v: %w", limit, err)
	}
	return err
}

// Close lets calls in flight finish: Shutdown drains.
func (c *subConn) Close() {
	if !c.closed.Swap(true) && c.sc != nil {
		c.sc.Shutdown()
	}
}

// onState follows the SubConn; grpc serializes the calls. A failed node stays
// failed through its next attempts until one is ready (gRFC A62): else a dead
// endpoint would make the channel blink between failing and waiting.
func (c *subConn) onState(s grpcbalancer.SubConnState) {
	if c.closed.Load() {
		return
	}
	switch s.ConnectivityState {
	case connectivity.Ready:
		c.failed = false
		c.failures.Store(0)
		c.g.core.SetState(c.node, Ready, nil)
	case connectivity.TransientFailure:
		c.failed = true
		c.failures.Add(1)
		c.g.core.SetState(c.node, Failed, c.reason(s.ConnectionError))
	case connectivity.Connecting, connectivity.Idle:
		if !c.failed && c.node.State() != Connecting {
			c.g.core.SetState(c.node, Connecting, nil)
		}
		if s.ConnectivityState == connectivity.Idle {
			c.sc.Connect()
		}
	}
}

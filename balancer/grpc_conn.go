package balancer

import (
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
)

// connect makes the SubConn of a node: one address, with the attributes that the
// resolver gave it, so that credentials see whom they must expect.
func (g *generation) connect(n *Node) Conn {
	c := &subConn{g: g, node: n}
	//lint:ignore SA1019 only a list of several addresses is deprecated
	sc, err := g.lb.cc.NewSubConn(
		[]grpcresolver.Address{g.in.Load().address(n.Endpoint(), &g.hint)},
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
		c.g.core.SetState(c.node, Ready, nil)
	case connectivity.TransientFailure:
		c.failed = true
		c.g.core.SetState(c.node, Failed, s.ConnectionError)
	case connectivity.Connecting, connectivity.Idle:
		if !c.failed && c.node.State() != Connecting {
			c.g.core.SetState(c.node, Connecting, nil)
		}
		if s.ConnectivityState == connectivity.Idle {
			c.sc.Connect()
		}
	}
}

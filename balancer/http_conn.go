package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/weft-mesh/weft/balancer/internal/http1"
	"github.com/weft-mesh/weft/internal/coalesce"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// dial opens a connection to the endpoint, verified if it is TLS. All its errors
// are resilience.ErrUnsent.
func (p *pool) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	c, _, err := p.reach(ctx, false)
	return c, err
}

// reach is dial, with the Wire of the connection if it is for p.small and can have one.
func (p *pool) reach(ctx context.Context, small bool) (net.Conn, *http1.Wire, error) {
	c, wire, err := p.connect(ctx, small)
	if err == nil {
		return c, wire, nil
	}
	err = fmt.Errorf("%w: %w", resilience.ErrUnsent, err)
	if ctx.Err() == nil { // else nobody waits, which says nothing about the endpoint
		p.fail(err)
	}
	return nil, nil, err
}

func (p *pool) connect(ctx context.Context, small bool) (net.Conn, *http1.Wire, error) {
	cfg := &p.s.t.cfg
	ep := p.node.Endpoint()
	ctx, cancel := context.WithTimeout(ctx, p.s.connectTimeout())
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)() // the node left: nobody waits for this connection
	raw, err := cfg.DialContext(ctx, "tcp", ep.Addr)
	if err != nil {
		return nil, nil, err
	}
	plain := http1.Plain(raw)
	var wire *http1.Wire
	if small {
		if wire = http1.NewWire(raw, !cfg.Plaintext); wire != nil {
			raw = wire
		}
	}
	collector := coalesce.New(raw, &p.s.t.buffers)
	c, err := p.track(collector)
	if err != nil {
		return nil, nil, err
	}
	h2 := cfg.Plaintext && http2Only(ep)
	if !cfg.Plaintext {
		tc, err := handshake(ctx, c, cfg, ep)
		if err != nil {
			_ = c.Close()
			return nil, nil, err
		}
		c, h2 = tc, tc.ConnectionState().NegotiatedProtocol == "h2"
	}
	if h2 {
		collector.Collect()
		wire = nil // it is for HTTP/1.1
	}
	p.learn(plain && !h2)
	return c, wire, nil
}

func http2Only(ep *resolver.Endpoint) bool {
	return ep.Protocol == "http2" || ep.Protocol == "grpc"
}

func handshake(ctx context.Context, c net.Conn, cfg *TransportConfig, ep *resolver.Endpoint) (*tls.Conn, error) {
	tcfg, err := cfg.TLS(ep)
	if err != nil {
		return nil, err
	}
	if tcfg == nil {
		return nil, errors.New("no TLS configuration for the endpoint")
	}
	tcfg = tcfg.Clone()
	h2only := http2Only(ep)
	if tcfg.NextProtos = []string{"h2", "http/1.1"}; h2only {
		tcfg.NextProtos = []string{"h2"}
	}
	tc := cfg.TLSClient(c, tcfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = tc.NetConn().Close() // who made tc may want to know
		return nil, err
	}
	if got := tc.ConnectionState().NegotiatedProtocol; h2only && got != "h2" {
		return nil, fmt.Errorf("the endpoint is announced as %q, but its server does not speak HTTP/2 (ALPN %q)", ep.Protocol, got)
	}
	return tc, nil
}

// trackedConn is a connection that its pool can close.
type trackedConn struct {
	net.Conn
	p      *pool
	closed atomic.Bool
}

func (p *pool) track(raw net.Conn) (net.Conn, error) {
	c := &trackedConn{Conn: raw, p: p}
	p.mu.Lock()
	dead := p.dead
	if !dead {
		p.conns[c] = struct{}{}
	}
	p.mu.Unlock()
	if dead {
		_ = raw.Close()
		return nil, errors.New("the endpoint left meanwhile")
	}
	return c, nil
}

// NetConn is the connection that is tracked.
func (c *trackedConn) NetConn() net.Conn { return c.Conn }

func (c *trackedConn) Close() error {
	if !c.closed.Swap(true) {
		c.p.mu.Lock()
		delete(c.p.conns, c)
		c.p.mu.Unlock()
	}
	return c.Conn.Close()
}

package balancer

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/balancer/internal/http1"
)

// HTTP/2 pings find a peer that is gone in at most pingAfter + pingTimeout.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 4 * time.Second
)

// poolHost stands for the endpoint in URLs that its own http.Transport sees. A port
// follows it, which net/http would else look for several times per request.
const poolHost = "endpoint.weft.invalid"

// pool is the Conn of a node: an http.Transport of its own, and beside it, if the
// endpoint speaks HTTP/1.1, connections for small requests, which cost less.
//
// The node is ready before the first connection, which a request makes. When a
// connection cannot be made the node is failed, and a probe brings it back: an
// endpoint that refuses looks idle, and must not draw traffic to itself.
type pool struct {
	s    *service
	node *Node
	gate gate
	rt   *http.Transport

	small  *http1.Pool // nil: not to be used
	speaks atomic.Bool // small can be used: the newest connection speaks HTTP/1.1

	ctx    context.Context // of dials and probes; ends when the node left
	cancel context.CancelFunc
	again  chan struct{} // has a token when the probe is to try now

	mu      sync.Mutex
	dead    bool
	probing bool
	conns   map[*trackedConn]struct{}
}

func (s *service) connect(n *Node) Conn {
	p := &pool{s: s, node: n, again: make(chan struct{}, 1), conns: map[*trackedConn]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(s.ctx)
	p.rt = p.newTransport()
	p.small = p.newSmall()
	s.mu.Lock()
	s.pools[p] = struct{}{}
	s.mu.Unlock()
	n.state.Store(uint32(Ready))
	return p
}

func (p *pool) newTransport() *http.Transport {
	cfg := &p.s.t.cfg
	protos := new(http.Protocols)
	h2only := http2Only(p.node.Endpoint())
	protos.SetHTTP1(!h2only)
	if cfg.Plaintext {
		protos.SetUnencryptedHTTP2(h2only)
	} else {
		protos.SetHTTP2(true)
	}
	return &http.Transport{
		Protocols:              protos,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		DialContext:            p.dial,
		DialTLSContext:         p.dial,
		DisableCompression:     true, // the caller's choice, not ours
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    cfg.MaxIdleConnsPerEndpoint,
		MaxConnsPerHost:        cfg.MaxConnsPerEndpoint,
		IdleConnTimeout:        cfg.IdleConnTimeout,
		ResponseHeaderTimeout:  cfg.ResponseHeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: cfg.MaxResponseHeaderBytes,
	}
}

// roundTrip sends a's request, to a URL and host as its caller wrote them, over the pool.
// The caller is inside the gate.
func (p *pool) roundTrip(a *sent, to *url.URL, host string, body io.ReadCloser) (*http.Response, error) {
	a.url = *to
	r, u := a.out, &a.url
	if r.Host = host; host == "" {
		r.Host = u.Host
	}
	u.Scheme, u.Host = "https", poolHost+":443"
	if p.s.t.cfg.Plaintext {
		u.Scheme, u.Host = "http", poolHost+":80"
	}
	r.URL = u
	if body != nil {
		r.Body = body
	}
	return p.send(a, r)
}

// Close retires the pool: nobody gets in any more, and the last one out closes
// it. Who waits for a connection goes to another endpoint at once.
func (p *pool) Close() {
	p.cancel()
	if p.gate.retire() {
		p.abort()
	}
}

func (p *pool) leave() {
	if p.gate.leave() {
		p.abort()
	}
}

func (p *pool) closeIdle() {
	p.rt.CloseIdleConnections()
	if p.small != nil {
		p.small.CloseIdle()
	}
}

// abort closes all connections and ends the probe.
func (p *pool) abort() {
	p.cancel()
	p.rt.CloseIdleConnections()
	if p.small != nil {
		p.small.Close()
	}
	p.mu.Lock()
	p.dead = true
	conns := slices.Collect(maps.Keys(p.conns))
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	p.s.mu.Lock()
	delete(p.s.pools, p)
	p.s.mu.Unlock()
}

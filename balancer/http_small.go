package balancer

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/balancer/internal/http1"
)

// fresh is less than the news of a peer's end is on its way from one machine to another:
// a connection whose last response is no older is used again unasked.
const fresh = 20 * time.Microsecond

// newSmall makes the connections for small requests, or nil where all is for http.Transport:
// it alone counts connections and times headers, and speaks HTTP/2.
func (p *pool) newSmall() *http1.Pool {
	cfg := &p.s.t.cfg
	if cfg.MaxConnsPerEndpoint > 0 || cfg.ResponseHeaderTimeout > 0 || http2Only(p.node.Endpoint()) {
		return nil
	}
	return http1.NewPool(http1.Config{
		Dial:           p.dialSmall,
		Go:             p.run,
		MaxIdle:        cfg.MaxIdleConnsPerEndpoint,
		IdleTimeout:    cfg.IdleConnTimeout,
		Fresh:          p.s.t.fresh,
		MaxHeaderBytes: cfg.MaxResponseHeaderBytes,
	})
}

// send sends r, the request of a, over the connections that it is fit for.
func (p *pool) send(a *sent, r *http.Request) (*http.Response, error) {
	if !p.speaks.Load() || !http1.Eligible(r) {
		return p.rt.RoundTrip(r)
	}
	resp, err := p.small.RoundTrip(&a.small, r)
	if err != http1.ErrElsewhere {
		return resp, err
	}
	if r.Body != nil && r.Body != http.NoBody {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		r.Body = body
	}
	return p.rt.RoundTrip(r)
}

// learn is told of each new connection whether it is of a kind that small can use.
func (p *pool) learn(speaks bool) {
	if p.small != nil && p.speaks.Swap(speaks) && !speaks {
		p.small.CloseIdle()
	}
}

// dialSmall is dial for p.small.
func (p *pool) dialSmall(ctx context.Context) (net.Conn, *http1.Wire, error) {
	c, wire, err := p.reach(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	if wire == nil {
		_ = c.Close()
		return nil, nil, http1.ErrElsewhere
	}
	return c, wire, nil
}

// run runs f unless the pool has ended; Transport.Close waits for it.
func (p *pool) run(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead { // Close may wait already
		return false
	}
	p.s.t.wg.Go(f)
	return true
}

// Package http1 sends small requests over HTTP/1.1 connections to one address. The
// caller's own goroutine writes and reads them: there is no goroutine per connection,
// and nothing is handed from one to another, which is most of what a call costs
// http.Transport beyond its bytes.
//
// It does little: what [Eligible] refuses, and what [ErrElsewhere] comes back for, is
// for an http.Transport. What it does, it does as net/http, with its writer and parser.
// A connection is used again only if all that was sent on it is known to be read.
package http1

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ErrElsewhere is the error of a request that is to be sent by an http.Transport, with
// its body anew: nothing of it left, or it may be sent twice.
var ErrElsewhere = errors.New("http1: not over a connection of this pool")

// Config is what a Pool needs. All fields but Fresh are required.
type Config struct {
	// Dial opens a connection that speaks HTTP/1.1, with its Wire. Its context ends
	// with no call: a connection that nobody waits for any more serves the next one.
	Dial func(context.Context) (net.Conn, *Wire, error)
	// Go runs a dial in a goroutine; false: it is too late for that.
	Go func(func()) bool
	// MaxIdle bounds the connections that are kept unused, for IdleTimeout at most.
	MaxIdle     int
	IdleTimeout time.Duration
	// Fresh is for how long after a response a connection is used again without asking
	// its socket whether the peer has ended it. That is a system call, and http.Transport
	// does not know at once either: its reader must be scheduled first.
	Fresh time.Duration
	// MaxHeaderBytes bounds the header of a response and of those with 1xx before it.
	MaxHeaderBytes int64
}

// Pool is the connections to one address.
type Pool struct {
	cfg Config

	mu       sync.Mutex
	idle     []*conn // the one used last is the last
	wants    []*want // each has a dial under way
	timer    *time.Timer
	armed    bool // timer runs
	draining bool // CloseIdle was called, and nothing sent since
	closed   bool
}

// want is a call that waits for its dial, or for a connection that another one is done with.
type want struct{ got chan found }

type found struct {
	c   *conn
	err error
}

// NewPool makes a Pool, which connects when it is used.
func NewPool(cfg Config) *Pool { return &Pool{cfg: cfg} }

// RoundTrip sends a request that is Eligible. x is for this call alone; the response's
// body is x, unless it has none.
func (p *Pool) RoundTrip(x *Exchange, req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	x.p, x.c, x.ctx = p, c, ctx
	if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, c.abort)
	}
	resp, at, err := c.exchange(req, p.cfg.MaxHeaderBytes)
	if err != nil {
		x.drop()
		return nil, c.failure(req, at, p.cfg.MaxHeaderBytes, err)
	}
	c.limit = math.MaxInt64
	resp.TLS = c.tls
	// A status below 100 is no final answer that one could count on.
	x.keep = !resp.Close && resp.StatusCode >= 200
	if resp.Body == http.NoBody {
		x.release()
		return resp, nil
	}
	x.body = resp.Body
	resp.Body = x
	return resp, nil
}

// get is an idle connection, or else a new one, or one that becomes idle before that.
func (p *Pool) get(ctx context.Context) (*conn, error) {
	for {
		p.mu.Lock()
		p.draining = false
		var c *conn
		if last := len(p.idle) - 1; last >= 0 {
			c, p.idle[last] = p.idle[last], nil
			p.idle = p.idle[:last]
		}
		p.mu.Unlock()
		if c == nil {
			var err error
			if c, err = p.wait(ctx); err != nil {
				return nil, err
			}
		}
		if !c.used || c.silent(time.Since(c.since) < p.cfg.Fresh) {
			return c, nil
		}
		c.close()
	}
}

func (p *Pool) wait(ctx context.Context) (*conn, error) {
	w := &want{make(chan found, 1)}
	p.mu.Lock()
	p.wants = append(p.wants, w)
	p.mu.Unlock()
	free := context.WithoutCancel(ctx)
	if !p.cfg.Go(func() { p.dial(free, w) }) {
		p.answer(w, found{err: ErrElsewhere})
	}
	select {
	case f := <-w.got:
		return f.c, f.err
	case <-ctx.Done():
		if !p.answer(w, found{}) {
			if f := <-w.got; f.c != nil {
				p.put(f.c)
			}
		}
		return nil, context.Cause(ctx)
	}
}

// dial gives its caller what comes of it, or the next one if that has gone.
func (p *Pool) dial(ctx context.Context, w *want) {
	nc, wire, err := p.cfg.Dial(ctx)
	if err != nil {
		p.answer(w, found{err: err})
		return
	}
	c := newConn(nc, wire)
	if !p.answer(w, found{c: c}) {
		p.put(c)
	}
}

// answer ends the wait of w; false: it has ended.
func (p *Pool) answer(w *want, f found) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.wants, w)
	if i < 0 {
		return false
	}
	p.wants = slices.Delete(p.wants, i, i+1)
	w.got <- f
	return true
}

// put takes a connection back that is good for another request.
func (p *Pool) put(c *conn) {
	c.used = true
	p.mu.Lock()
	switch {
	case p.closed:
	case len(p.wants) > 0:
		p.wants[0].got <- found{c: c}
		p.wants = slices.Delete(p.wants, 0, 1)
		c = nil
	case !p.draining && len(p.idle) < p.cfg.MaxIdle:
		c.since = time.Now()
		p.idle = append(p.idle, c)
		p.arm(p.cfg.IdleTimeout)
		c = nil
	}
	p.mu.Unlock()
	if c != nil {
		c.close()
	}
}

// arm starts the timer unless it runs. mu is held.
func (p *Pool) arm(d time.Duration) {
	switch {
	case p.armed:
	case p.timer == nil:
		p.timer = time.AfterFunc(d, p.sweep)
	default:
		p.timer.Reset(d)
	}
	p.armed = true
}

// sweep closes what was idle for too long.
func (p *Pool) sweep() {
	p.mu.Lock()
	now := time.Now()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.cfg.IdleTimeout {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.armed = false
	if len(p.idle) > 0 {
		p.arm(p.cfg.IdleTimeout - now.Sub(p.idle[0].since))
	}
	p.mu.Unlock()
	closeAll(old)
}

// CloseIdle closes the connections that no call uses, and those in use after their
// call, if none was begun meanwhile.
func (p *Pool) CloseIdle() { p.end(false) }

// Close is CloseIdle for good. Calls under way go on.
func (p *Pool) Close() { p.end(true) }

func (p *Pool) end(closed bool) {
	p.mu.Lock()
	old := p.idle
	p.idle = nil
	p.draining = true
	p.closed = p.closed || closed
	if p.timer != nil {
		p.timer.Stop()
	}
	p.armed = false
	p.mu.Unlock()
	closeAll(old)
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		c.close()
	}
}

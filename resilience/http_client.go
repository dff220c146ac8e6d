package resilience

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

// DefaultHTTPReplayLimit is the default of [HTTPClientConfig.ReplayLimit].
const DefaultHTTPReplayLimit = 64 << 10

// HTTPClientConfig is what an [HTTPClient] does. The zero value retries what is
// safe, with the defaults of [LoopConfig] and a Budget per host.
type HTTPClientConfig struct {
	// LoopFor gives the Loop of a service, which is the host of the URL; it must
	// give the same one each time. Nil: one per host with the defaults.
	LoopFor func(service string) *Loop
	// Idempotent reports whether a request may be made twice; nil: [HTTPIdempotent].
	Idempotent func(*http.Request) bool
	// Classify makes the outcome of an attempt, for these Loops alone; nil: [FromHTTP],
	// or the balancer that has made it. To change what all go by, use
	// [LoopConfig.Classify].
	Classify func(resp *http.Response, err error, callerEnded bool) Outcome
	// ReplayLimit is how many bytes of a body are read into memory before the first
	// attempt, if the request has no GetBody, its length is known and it may be made
	// twice; zero: 64 KiB. Other bodies without GetBody are sent once at most.
	ReplayLimit int64
	// HideTimeout leaves out the header weft-timeout; false: each attempt tells the
	// server how much time is left, if the request has a deadline.
	HideTimeout bool
	// Report is called at the end of each call, when its body is read or closed, on
	// the goroutine that does so; nil: no one is told.
	Report func(ctx context.Context, in *Info, r Result)
}

// HTTPClient is an http.RoundTripper that puts a [Loop] around another one.
//
// An attempt ends with the body of its response: until then its context lives,
// and the call's timeout counts. Responses that are not returned are closed. The
// last response is returned also if it is a failure, as without an HTTPClient.
//
// All attempts have the request's context, and so the same balancer.Call: a
// transport that knows it avoids the endpoints already tried.
type HTTPClient struct {
	cfg  HTTPClientConfig
	next http.RoundTripper

	stock  bool // no Classify of its own
	stamps stamps

	mu    sync.RWMutex
	loops map[string]*Loop // without LoopFor
}

// NewHTTPClient makes an HTTPClient that sends with next; nil:
// http.DefaultTransport. The error names the field that makes no sense.
func NewHTTPClient(next http.RoundTripper, cfg HTTPClientConfig) (*HTTPClient, error) {
	if cfg.ReplayLimit < 0 {
		return nil, fmt.Errorf("resilience: HTTPClientConfig.ReplayLimit is %d: it must not be negative", cfg.ReplayLimit)
	}
	if cfg.ReplayLimit == 0 {
		cfg.ReplayLimit = DefaultHTTPReplayLimit
	}
	if cfg.Idempotent == nil {
		cfg.Idempotent = HTTPIdempotent
	}
	stock := cfg.Classify == nil
	if stock {
		cfg.Classify = FromHTTP
	}
	if next == nil {
		next = http.DefaultTransport
	}
	c := &HTTPClient{cfg: cfg, next: next, stock: stock, loops: map[string]*Loop{}}
	if c.cfg.LoopFor == nil {
		c.cfg.LoopFor = c.own
	}
	return c, nil
}

// own is the host's Loop with the defaults. Hosts beyond a bound share one.
func (c *HTTPClient) own(host string) *Loop {
	c.mu.RLock()
	l := c.loops[host]
	c.mu.RUnlock()
	if l != nil {
		return l
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.loops) >= maxBudgets && c.loops[host] == nil {
		host = ""
	}
	if l = c.loops[host]; l == nil {
		l, _ = NewLoop(LoopConfig{}) // the defaults are valid
		c.loops[host] = l
	}
	return l
}

// RoundTrip implements http.RoundTripper.
func (c *HTTPClient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	in := Info{Service: req.URL.Hostname(), Method: req.Method, Path: req.URL.Path, Idempotent: c.cfg.Idempotent(req)}
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	l := c.cfg.LoopFor(in.Service)
	h := newHTTPCall(l, in, req)
	h.c = c
	var err error
	if h.body, err = newReplay(req, c.cfg.ReplayLimit, h.in.Idempotent && l.retry.Attempts > 1); err != nil {
		return nil, fmt.Errorf("resilience: reading the request's body: %w", err)
	}
	h.in.Idempotent = h.in.Idempotent && h.body.many()
	r := l.Do(ctx, &h.in, h)
	h.body.end()
	return h.take(ctx, r)
}

// CloseIdleConnections passes the request on to the transport.
func (c *HTTPClient) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

var errGone = errors.New("resilience: the request ended while it waited for another attempt")

package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

// HTTPClientGates puts gates in front of the requests of an http.Client. It is an
// http.RoundTripper around another. The class of a request is its header
// PriorityKey. A request that is refused fails with the gate's error, unsent
// (errors.Is ErrUnsent), and its body is closed.
//
// A request is under way until its response's body is closed.
type HTTPClientGates struct {
	next  http.RoundTripper
	chain *Chain
	wants wants
}

// NewHTTPClientGates makes a RoundTripper of gates, entered in order; a nil next is
// http.DefaultTransport.
func NewHTTPClientGates(next http.RoundTripper, gates ...Gate) *HTTPClientGates {
	if next == nil {
		next = http.DefaultTransport
	}
	return &HTTPClientGates{next, NewChain(gates...), wantsOf(gates)}
}

// RoundTrip implements http.RoundTripper.
func (g *HTTPClientGates) RoundTrip(req *http.Request) (*http.Response, error) {
	in := Info{Service: req.URL.Hostname(), Method: req.Method, Path: req.URL.Path, Idempotent: HTTPIdempotent(req)}
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	in.Priority = httpPriority(req.Header)
	if g.wants.headers {
		in.Header = req.Header.Get
	}
	ctx := req.Context()
	done, err := g.chain.Enter(ctx, &in)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &httpRefused{err}
	}
	once := onceOutcome(done)
	defer func() {
		if p := recover(); p != nil {
			once(Outcome{})
			panic(p)
		}
	}()
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		once(httpOutcome(ctx, nil, err))
		return nil, err
	}
	o := httpOutcome(ctx, resp, nil)
	if resp.Body == nil || resp.Body == http.NoBody {
		once(o)
		return resp, nil
	}
	b := &gatedBody{resp.Body, ctx, once, o}
	if w, ok := resp.Body.(io.Writer); ok { // 101 Switching Protocols
		resp.Body = &gatedConn{b, w}
		return resp, nil
	}
	resp.Body = b
	return resp, nil
}

// CloseIdleConnections passes the request on to the transport.
func (g *HTTPClientGates) CloseIdleConnections() {
	if t, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// httpOutcome is FromHTTP; a refusal by an inner gate counts as what it says.
func httpOutcome(ctx context.Context, resp *http.Response, err error) Outcome {
	if err == nil {
		return FromHTTP(resp, nil, false)
	}
	var r *Refused
	if errors.As(err, &r) {
		return r.Outcome
	}
	end, _ := CallDeadline(ctx)
	return FromHTTP(nil, err, CallerEnded(ctx, end))
}

// httpRefused is a gate's refusal. Nothing was sent.
type httpRefused struct{ err error }

func (e *httpRefused) Error() string   { return e.err.Error() }
func (e *httpRefused) Unwrap() []error { return []error{e.err, ErrUnsent} }

// gatedBody leaves the gates when it ends.
type gatedBody struct {
	io.ReadCloser
	ctx  context.Context
	once func(Outcome)
	o    Outcome
}

func (b *gatedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.once(b.o)
	case err != nil:
		b.once(httpOutcome(b.ctx, nil, err))
	}
	return n, err
}

func (b *gatedBody) Close() error {
	err := b.ReadCloser.Close()
	b.once(b.o)
	return err
}

// gatedConn is the body of a switched connection; only Close ends it.
type gatedConn struct {
	*gatedBody
	io.Writer
}

func (c *gatedConn) Read(p []byte) (int, error) { return c.ReadCloser.Read(p) }

// priorityHeader is PriorityKey as http.Header has it: Get would allocate that.
const priorityHeader = "Weft-Priority"

// httpPriority is the class that a request's header says.
func httpPriority(h http.Header) Priority {
	v := h[priorityHeader]
	if len(v) == 0 {
		return Critical
	}
	p, _ := ParsePriority(v[0])
	return p
}

// isUpgrade reports whether a request asks to switch protocols: like a stream, it
// lasts as long as its parties like.
func isUpgrade(h http.Header) bool { return strings.TrimSpace(h.Get("Upgrade")) != "" }

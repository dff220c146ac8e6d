package resilience

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// httpCall is a request, the attempt it makes, and the body that ends it, in one piece.
type httpCall struct {
	c    *HTTPClient
	l    *Loop
	req  *http.Request
	in   Info
	body replay

	mu      sync.Mutex // hedged attempts run at the same time
	replies []httpReply
	first   [1]httpReply // room for the usual number
	end     endBody      // of the response that counts

	out    *http.Request // as the first attempt sends it: req itself, if it is ours to change
	url    *url.URL      // of req, before out was changed
	host   string
	header http.Header
}

// copiedCall is a call with a copy of its request.
type copiedCall struct {
	httpCall
	copy http.Request
}

// newHTTPCall is a call by a loop that sends req, once, itself if whose it is lets us.
func newHTTPCall(l *Loop, in Info, req *http.Request) (h *httpCall) {
	// Hedges run at the same time: each has a request of its own.
	if o, ok := req.Context().(interface{ Owns(*http.Request) bool }); ok && o.Owns(req) && !l.hedge.on(&in) {
		h = &httpCall{out: req}
	} else {
		c := &copiedCall{copy: *req}
		h = &c.httpCall
		h.out = &c.copy
	}
	h.l, h.in, h.req, h.url, h.host, h.header = l, in, req, req.URL, req.Host, req.Header
	return h
}

type httpReply struct {
	n    int
	ctx  context.Context
	resp *http.Response
	err  error
}

// The keys as http.Header has them: canonical.
const (
	attemptHeader = "Weft-Attempt"
	timeoutHeader = "Weft-Timeout"
)

// Try makes an attempt.
func (h *httpCall) Try(ctx context.Context, n int) Outcome {
	ctx, v := h.l.verdict(ctx)
	resp, err := h.send(ctx, n)
	h.mu.Lock()
	if h.replies == nil {
		h.replies = h.first[:0]
	}
	h.replies = append(h.replies, httpReply{n, ctx, resp, err})
	h.mu.Unlock()
	o, ok := refusedBelow(err)
	if !ok {
		o = h.outcome(ctx, v, resp, err)
	}
	o.once = !h.body.again()
	return o
}

// outcome is what a balancer has made of the attempt, or else what we do.
func (h *httpCall) outcome(ctx context.Context, v *Verdict, resp *http.Response, err error) Outcome {
	if o, ok := v.take(err); ok && h.c.stock {
		return o
	}
	o := h.c.cfg.Classify(resp, err, err != nil && CallerEnded(ctx, time.Time{}))
	e := Ended{Method: h.in.Method, Path: h.in.Path, Err: err}
	if resp != nil {
		e.Status = resp.StatusCode
	}
	return h.l.judge.Judge(e, o)
}

func (h *httpCall) send(ctx context.Context, n int) (*http.Response, error) {
	body, err := h.body.body(n)
	if err != nil {
		return nil, fmt.Errorf("resilience: the request's GetBody: %w: %w", ErrUnsent, err)
	}
	req := h.out
	switch {
	case n > 1: // the first attempt may still read its own
		req = h.req.WithContext(ctx)
		req.URL, req.Host, req.Header = h.url, h.host, h.header
	case ctx != req.Context():
		*req = *req.WithContext(ctx)
	}
	req.Body = body
	if h.body.none {
		req.Body = h.req.Body
	}
	if h.body.get != nil {
		req.GetBody = h.body.get // the transport's own repeats on broken idle connections
	}
	h.mark(ctx, req, n)
	return h.c.next.RoundTrip(req)
}

// mark tells the server which attempt this is, and how much time is left.
func (h *httpCall) mark(ctx context.Context, req *http.Request, n int) {
	end, has := ctx.Deadline()
	has = has && !h.c.cfg.HideTimeout
	if n <= 1 && !has {
		return
	}
	var left *stamp
	if has {
		left = h.c.stamps.of(time.Until(end))
		if n <= 1 && len(req.Header) == 0 {
			req.Header = left.header
			return
		}
	}
	req.Header = maps.Clone(req.Header) // the values stay shared, and are only read
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if n > 1 {
		req.Header[attemptHeader] = []string{strconv.Itoa(n)}
	}
	if has {
		req.Header[timeoutHeader] = left.header[timeoutHeader]
	}
}

// Drop closes the responses so far: another attempt will be made.
func (h *httpCall) Drop() {
	for _, r := range h.replies {
		discard(r.resp)
	}
	clear(h.replies)
	h.replies = h.replies[:0]
}

// take returns the response that counts. No attempt runs any more.
func (h *httpCall) take(ctx context.Context, r Result) (*http.Response, error) {
	var reply httpReply
	for _, p := range h.replies {
		if p.n == r.Attempt {
			reply = p
		} else {
			discard(p.resp)
		}
	}
	if reply.n == 0 { // dropped for an attempt that there was no time for
		reply.err = fmt.Errorf("%w: %w", errGone, context.Cause(ctx))
	}
	resp := reply.resp
	if reply.err != nil || resp == nil {
		r.End()
		h.report(ctx, r)
		return nil, reply.err
	}
	resp.Request = h.req
	if r.attempt == nil && r.call == nil && h.c.cfg.Report == nil {
		return resp, nil
	}
	e := &h.end
	e.h, e.ctx, e.r = h, reply.ctx, r
	if resp.Body == nil || resp.Body == http.NoBody {
		e.end(nil)
		return resp, nil
	}
	e.ReadCloser = resp.Body
	if w, ok := resp.Body.(io.Writer); ok { // 101 Switching Protocols
		resp.Body = &endConn{e, w}
	} else {
		resp.Body = e
	}
	return resp, nil
}

func (h *httpCall) report(ctx context.Context, r Result) {
	if h.c.cfg.Report != nil {
		h.c.cfg.Report(ctx, &h.in, r)
	}
}

// maxDiscard is how much of an unwanted body is read so that its connection can
// be used again.
const maxDiscard = 4 << 10

func discard(resp *http.Response) {
	if resp == nil || resp.Body == nil {
		return
	}
	// A body of unknown length may never come: its connection is given up instead.
	if resp.ContentLength >= 0 && resp.ContentLength <= maxDiscard {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDiscard+1)
	}
	_ = resp.Body.Close()
}

// endBody ends a call with its response's body.
type endBody struct {
	io.ReadCloser
	h    *httpCall
	ctx  context.Context
	r    Result
	over atomic.Bool
}

func (b *endBody) end(err error) {
	if b.over.Swap(true) {
		return
	}
	if err != nil && err != io.EOF {
		b.r.Outcome = b.h.outcome(b.ctx, VerdictFrom(b.ctx), nil, err)
		b.r.Outcome.Silent = false // the answer had begun
	}
	b.r.End()
	b.h.report(b.ctx, b.r)
}

func (b *endBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err)
	}
	return n, err
}

func (b *endBody) Close() error {
	err := b.ReadCloser.Close()
	b.end(nil)
	return err
}

// endConn is a switched connection: its reader's end is not its writer's, so only
// Close ends the call.
type endConn struct {
	*endBody
	io.Writer
}

func (c *endConn) Read(p []byte) (int, error) { return c.ReadCloser.Read(p) }

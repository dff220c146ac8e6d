package resilience

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"time"
)

// HTTPInbound gives a server's handlers their [Inbound] and the deadline that the
// caller gave the request ([TimeoutKey]), refuses what is too late, and marks
// replies that failed after retries below.
type HTTPInbound struct {
	cfg  InboundConfig
	next http.Handler
}

// NewHTTPInbound makes an HTTPInbound around next.
func NewHTTPInbound(next http.Handler, cfg InboundConfig) *HTTPInbound {
	return &HTTPInbound{cfg: cfg, next: next}
}

// inboundCall is a request that is served, in one piece.
type inboundCall struct {
	lateContext
	in Inbound
	w  markingWriter
}

func (c *inboundCall) Value(key any) any {
	if key == (inboundKey{}) {
		return &c.in
	}
	return c.lateContext.Value(key)
}

// ServeHTTP implements http.Handler. What is too late gets status 504.
func (h *HTTPInbound) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h.serve(new(inboundCall), w, req)
}

func (h *HTTPInbound) serve(c *inboundCall, w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	c.Context, c.in.Attempt = req.Context(), 1
	if !h.cfg.Untrusted {
		if v := req.Header[attemptHeader]; len(v) == 1 {
			c.in.Attempt = ParseAttempt(v[0])
		}
		if v := req.Header[timeoutHeader]; len(v) == 1 {
			if d, ok := ParseTimeout(v[0]); ok && d != NoTimeout {
				c.limit(now.Add(d))
				defer c.leave()
			}
		}
	}
	e, err := h.cfg.Deadline.enterAt(c, c.Context, req.Method, false, now)
	if err != nil {
		if errors.Is(err, errSlowHere) {
			w.Header().Set(RefusedKey, "1") // another server may be faster
		} else {
			w.Header().Set(RetriedKey, "1") // it would be as late
		}
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
		return
	}
	c.w = markingWriter{ResponseWriter: w, in: &c.in}
	// Whose request it is lets us change it.
	if o, ok := c.Context.(interface{ Owns(*http.Request) bool }); ok && o.Owns(req) {
		*req = *req.WithContext(c)
	} else {
		req = req.WithContext(c)
	}
	h.next.ServeHTTP(&c.w, req)
	// The time of a failure says nothing about the time that the work takes.
	if took := time.Since(now); c.w.status < 500 && !c.late(now.Add(took)) {
		e.took(took, Outcome{Class: Success})
	}
}

// markingWriter adds the mark to the header of a failed reply.
type markingWriter struct {
	http.ResponseWriter
	in     *Inbound
	status int
}

func (w *markingWriter) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
		if (status >= 500 || status == http.StatusTooManyRequests) && w.in.Retried() {
			w.Header().Set(RetriedKey, "1")
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *markingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *markingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush and Hijack are for handlers that ask for them without a ResponseController.
func (w *markingWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *markingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

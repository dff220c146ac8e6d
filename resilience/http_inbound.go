package resilience

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
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

// ServeHTTP implements http.Handler. What is too late gets status 504.
func (h *HTTPInbound) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, attempt := req.Context(), 1
	if !h.cfg.Untrusted {
		if v := req.Header[attemptHeader]; len(v) == 1 {
			attempt = ParseAttempt(v[0])
		}
		if v := req.Header[timeoutHeader]; len(v) == 1 {
			if d, ok := ParseTimeout(v[0]); ok && d != NoTimeout {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, d)
				defer cancel()
			}
		}
	}
	e, err := h.cfg.Deadline.enter(ctx, req.Method, false)
	if err != nil {
		if errors.Is(err, errSlowHere) {
			w.Header().Set(RefusedKey, "1") // another server may be faster
		} else {
			w.Header().Set(RetriedKey, "1") // it would be as late
		}
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
		return
	}
	ctx, in := NewInbound(ctx, attempt)
	m := &markingWriter{ResponseWriter: w, in: in}
	h.next.ServeHTTP(m, req.WithContext(ctx))
	// The time of a failure says nothing about the time that the work takes.
	if m.status < 500 && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.done(Outcome{Class: Success})
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

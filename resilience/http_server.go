package resilience

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// HTTPServerConfig is what an [HTTPServerGates] does. The zero value recovers from
// panics and refuses nothing.
type HTTPServerConfig struct {
	// Service is our own name in Info; empty is allowed.
	Service string
	// Gates are entered before the handler, and before the request's body is read.
	// Empty: none.
	Gates []Gate
	// Logger is told of panics, as event "panic.recovered" with the stack. nil: nobody.
	Logger *slog.Logger
}

// HTTPServerGates puts gates in front of an http.Handler. What they refuse gets
// status 429 (ErrRate) or 503, Retry-After, and the header RefusedKey, without a
// look at the body. The class of a request is its header PriorityKey, its caller
// the SPIFFE ID of the client certificate that the server's TLS let through. A
// handler's panic becomes status 500 if nothing was written yet, else the reply
// breaks off; http.ErrAbortHandler goes on.
type HTTPServerGates struct {
	cfg     HTTPServerConfig
	next    http.Handler
	inbound *HTTPInbound // next, if it is one; else nil
	chain   *Chain
	wants   wants
}

// NewHTTPServerGates puts gates in front of next.
func NewHTTPServerGates(next http.Handler, cfg HTTPServerConfig) *HTTPServerGates {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	inbound, _ := next.(*HTTPInbound)
	return &HTTPServerGates{cfg, next, inbound, NewChain(cfg.Gates...), wantsOf(cfg.Gates)}
}

// gatedCall is a request in the gates, in one piece with what is next to them.
type gatedCall struct {
	statusWriter
	inner inboundCall
}

// ServeHTTP implements http.Handler.
func (g *HTTPServerGates) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	var sw *statusWriter
	var inner *inboundCall
	if g.inbound != nil {
		c := new(gatedCall)
		sw, inner = &c.statusWriter, &c.inner
	} else {
		sw = new(statusWriter)
	}
	sw.ResponseWriter = w
	done := nothing
	o := Outcome{Class: Failure} // of a panic
	defer func() {
		if p := recover(); p != nil {
			done(o)
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http's own comparison
				panic(p)
			}
			logPanic(ctx, g.cfg.Logger, req.Method+" "+req.URL.Path, p)
			if sw.status != 0 {
				panic(http.ErrAbortHandler) // the reply is half sent: break it off
			}
			http.Error(w, "internal server error", http.StatusInternalServerError)
		}
	}()
	if len(g.chain.gates) > 0 {
		enter, err := g.enter(req)
		if err != nil {
			HTTPRefusal(w, err)
			return
		}
		done = enter
	}
	if inner != nil {
		g.inbound.serve(inner, sw, req)
	} else {
		g.next.ServeHTTP(sw, req)
	}
	o = sw.outcome(ctx)
	end := done
	done = nothing
	end(o)
}

// enter takes a request into the gates.
func (g *HTTPServerGates) enter(req *http.Request) (func(Outcome), error) {
	in := Info{Service: g.cfg.Service, Method: req.Method, Path: req.URL.Path, Stream: isUpgrade(req.Header), Idempotent: HTTPIdempotent(req)}
	in.Priority = httpPriority(req.Header)
	if g.wants.headers {
		in.Header = req.Header.Get
	}
	if g.wants.caller && req.TLS != nil {
		in.Caller = callerOfCerts(req.TLS.PeerCertificates)
	}
	return g.chain.Enter(req.Context(), &in)
}

// HTTPRefusal answers a request that a gate refused with err.
func HTTPRefusal(w http.ResponseWriter, err error) {
	var r *Refused
	status := http.StatusServiceUnavailable
	if !errors.As(err, &r) {
		r = &Refused{}
	}
	switch {
	case r.Status != 0:
		status = r.Status
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrDeadlinePassed), errors.Is(err, ErrDeadlineShort), r.Code == codeDeadlineExceeded:
		status = http.StatusGatewayTimeout
	case errors.Is(err, ErrRate), r.Code == codeResourceExhausted:
		status = http.StatusTooManyRequests
	case r.Code != 0 && r.Code != codeUnavailable:
		status = http.StatusInternalServerError
	}
	if errors.Is(err, ErrConcurrency) || errors.Is(err, ErrRate) || errors.Is(err, ErrOpen) || errors.Is(err, ErrThrottled) {
		seconds := max(1, (r.RetryAfter+time.Second-1)/time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		w.Header().Set(RefusedKey, "1")
	}
	http.Error(w, err.Error(), status)
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher, for handlers that do not use a controller.
func (w *statusWriter) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker, for the same.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

func (w *statusWriter) outcome(ctx context.Context) Outcome {
	if ctx.Err() != nil {
		return Outcome{}
	}
	if w.status < 500 && w.status != http.StatusTooManyRequests {
		// Without a look at the header, of which net/http would make a copy.
		return Outcome{Class: Success, Code: uint16(w.status)}
	}
	return FromHTTP(&http.Response{StatusCode: w.status, Header: w.Header()}, nil, false)
}

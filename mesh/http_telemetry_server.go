package mesh

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/security"
)

// serveHTTP measures requests that are served.
func (w *watch) serveHTTP(h http.Handler) http.Handler {
	if w == nil {
		return h
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		sw := &servedWriter{ResponseWriter: rw}
		start, draw := balancer.Now(), telemetry.Draw()
		method := telemetry.HTTPMethod(req.Method)
		req, span := w.acceptHTTP(req, method, draw)
		whole := false
		defer func() { w.servedHTTP(req, sw, span, method, time.Duration(balancer.Now()-start), draw, whole) }()
		h.ServeHTTP(sw, req)
		whole = true
	})
}

// acceptHTTP takes a request in, with the caller's trace and baggage.
func (w *watch) acceptHTTP(req *http.Request, method string, draw uint32) (*http.Request, *telemetry.Span) {
	if w.tracer == nil {
		return req, nil
	}
	var span *telemetry.Span
	ctx := w.tracer.AcceptHTTP(req.Context(), req.Header, func() bool { return w.stranger(security.PeerFromRequest(req)) })
	if w.tracer.DecideInbound(ctx, draw) == telemetry.Sampled {
		span = new(telemetry.Span)
		ctx, *span = w.tracer.Serve(ctx, method, attribute.String(telemetry.AttrHTTPMethod, method), attribute.String(telemetry.AttrURLPath, req.URL.Path))
	}
	if ctx != req.Context() {
		req = req.WithContext(ctx)
	}
	return req, span
}

// servedHTTP ends a request. One that broke off has failed, whatever was written.
func (w *watch) servedHTTP(req *http.Request, sw *servedWriter, span *telemetry.Span, method string, took time.Duration, draw uint32, whole bool) {
	status := sw.status
	switch {
	case !whole:
		status = http.StatusInternalServerError
	case status == 0:
		status = http.StatusOK // net/http writes it after the handler
	}
	end := telemetry.HTTPStatus(status)
	slow := w.requests.Cell(telemetry.HTTPKey{Method: method, Pattern: sw.pattern}).Record(end, took, draw)
	failed := telemetry.HTTPFailed(end, true)
	if span == nil && !failed && !slow && !w.access.Wants(false, draw) {
		return
	}
	name, attrs := method, []attribute.KeyValue{attribute.Int(telemetry.AttrHTTPStatus, status)}
	if route := telemetry.HTTPRoute(sw.pattern); route != "" {
		name += " " + route
		attrs = append(attrs, attribute.String(telemetry.AttrHTTPRoute, route))
	}
	failure := httpFailure(end, true)
	if span != nil {
		span.Rename(name)
		span.End(failure, attrs...)
	} else if failed || slow {
		attrs = append(attrs, attribute.String(telemetry.AttrHTTPMethod, method), attribute.String(telemetry.AttrURLPath, req.URL.Path))
		w.tracer.Late(req.Context(), telemetry.Server, name, late(failed), failure, took, attrs...)
	}
	if w.access.Wants(failed, draw) {
		peer, _ := security.PeerFromRequest(req)
		w.access.Log(req.Context(), telemetry.Record{
			Side: "server", Protocol: "http", Service: w.service, Method: name, Status: telemetry.HTTPEndName(end),
			Took: took, Peer: peer.String(), TraceID: telemetry.TraceID(req.Context()),
		})
	}
}

// route tells the servedWriter outside which pattern of a ServeMux matched. It is
// innermost, because the mux notes it on the request that it is given.
func (w *watch) route(h http.Handler) http.Handler {
	if w == nil {
		return h
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		defer func() {
			for x := rw; req.Pattern != ""; {
				if sw, ok := x.(*servedWriter); ok {
					sw.pattern = req.Pattern
					return
				}
				u, ok := x.(interface{ Unwrap() http.ResponseWriter })
				if !ok {
					return
				}
				x = u.Unwrap()
			}
		}()
		h.ServeHTTP(rw, req)
	})
}

// servedWriter remembers what was answered, and by which pattern.
type servedWriter struct {
	http.ResponseWriter
	status  int
	pattern string
}

func (w *servedWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *servedWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *servedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush and Hijack are for handlers that ask for them without a ResponseController.
func (w *servedWriter) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *servedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

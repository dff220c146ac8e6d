package mesh

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
)

// roundTrip sends a request with ctx, and counts it when its response's header is there.
func (s *seen) roundTrip(next http.RoundTripper, req *http.Request, ctx context.Context, call *balancer.Call) (*http.Response, error) {
	if s == nil {
		return next.RoundTrip(req.WithContext(ctx))
	}
	method := telemetry.HTTPMethod(req.Method)
	draw, start := telemetry.Draw(), balancer.Now()
	how := s.w.tracer.Decide(ctx, draw)
	out, span := s.trace(ctx, req, method, how)
	resp, err := next.RoundTrip(out)
	took := time.Duration(balancer.Now() - start)
	end := httpEnd(resp, err)
	slow := s.https.Cell(method).Record(end, took, draw)
	failed := telemetry.HTTPFailed(end, false)
	if span == nil && !failed && !slow && !s.w.access.Wants(false, draw) {
		return resp, err
	}
	e := ended{"http", method, telemetry.HTTPEndName(end), httpFailure(end, false), took, draw, slow}
	var attrs []attribute.KeyValue
	if resp != nil {
		attrs = append(attrs, attribute.Int(telemetry.AttrHTTPStatus, resp.StatusCode))
	}
	if span == nil {
		attrs = append(attrs, s.attrs(req, method)...)
	}
	s.finish(out.Context(), call, span, e, err, attrs...)
	return resp, err
}

func (s *seen) attrs(req *http.Request, method string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String(telemetry.AttrHTTPMethod, method),
		attribute.String(telemetry.AttrServerAddress, s.service),
		attribute.String(telemetry.AttrURLPath, req.URL.Path),
	}
}

// trace is the request that goes to the attempts: with a span if it is sampled, or
// with the headers of the trace that it is in.
func (s *seen) trace(ctx context.Context, req *http.Request, method string, how telemetry.Decision) (*http.Request, *telemetry.Call) {
	t, foreign := s.w.tracer, s.foreign.Load()
	if !t.Carries(ctx, how) {
		return req.WithContext(ctx), nil
	}
	if how == telemetry.Sampled {
		sctx, span := t.Call(ctx, method, s.attrs(req, method)...)
		if span.Owner = s; span.Recorded() {
			return req.WithContext(span.With(sctx)), span
		}
		ctx = sctx
	}
	out := req.WithContext(ctx)
	t.SendHTTP(ctx, out, how, foreign)
	return out, nil
}

func httpEnd(resp *http.Response, err error) int {
	if err != nil {
		return telemetry.HTTPError(err)
	}
	return telemetry.HTTPStatus(resp.StatusCode)
}

func httpFailure(end int, server bool) string {
	if telemetry.HTTPFailed(end, server) {
		return telemetry.HTTPEndName(end)
	}
	return ""
}

// attempts gives the attempts of sampled requests their spans.
func (w *watch) attempts(next http.RoundTripper) http.RoundTripper {
	if w == nil || w.tracer == nil {
		return next
	}
	return httpAttempts{next, w}
}

type httpAttempts struct {
	next http.RoundTripper
	w    *watch
}

func (t httpAttempts) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	span, call := telemetry.CallFrom(ctx), balancer.CallFrom(ctx)
	if span == nil || call == nil {
		return t.next.RoundTrip(req)
	}
	s := span.Owner.(*seen)
	actx, a := span.Attempt(ctx)
	out := req.WithContext(actx)
	t.w.tracer.SendHTTP(actx, out, telemetry.Sampled, s.foreign.Load())
	resp, err := t.next.RoundTrip(out)
	s.endAttempt(a, call, "", httpFailure(httpEnd(resp, err), false))
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pools.
func (t httpAttempts) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

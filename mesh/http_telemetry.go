package mesh

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
)

// httpCall is one request as it is measured.
type httpCall struct {
	s      *seen
	cell   *telemetry.Cell
	method string
	start  int64
	draw   uint32
	how    telemetry.Decision
}

// request begins a request: one look-up, one clock read, one decision.
func (s *seen) request(ctx context.Context, req *http.Request) httpCall {
	if s == nil {
		return httpCall{}
	}
	method, draw := telemetry.HTTPMethod(req.Method), telemetry.Draw()
	return httpCall{s, s.https.Cell(method), method, balancer.Now(), draw, s.w.tracer.Decide(ctx, draw)}
}

// begin begins the span of a sampled request.
func (c httpCall) begin(ctx context.Context, req *http.Request) (context.Context, *telemetry.Call) {
	if c.how != telemetry.Sampled {
		return ctx, nil
	}
	sctx, span := c.s.w.tracer.Call(ctx, c.method, c.s.attrs(req, c.method)...)
	if !span.Recorded() {
		return sctx, nil
	}
	span.Owner = c.s
	return span.With(sctx), span
}

// send tells the other end of the trace; a span's attempts do so themselves.
func (c httpCall) send(out *http.Request, span *telemetry.Call) {
	if c.s != nil && span == nil && c.s.w.tracer.Carries(out.Context(), c.how) {
		c.s.w.tracer.SendHTTP(out.Context(), out, c.how, c.s.stranger())
	}
}

// end counts a request when its response's header is there. Its span ends with the
// response's body.
func (c httpCall) end(ctx context.Context, req *http.Request, call *balancer.Call, span *telemetry.Call, resp *http.Response, err error) {
	if c.s == nil {
		return
	}
	now := call.Ended()
	if err != nil || call.Attempts() != 1 || now == 0 {
		now = balancer.Now()
	}
	took := time.Duration(now - c.start)
	end := httpEnd(resp, err)
	slow := c.cell.Record(end, took, c.draw)
	failed := telemetry.HTTPFailed(end, false)
	if span == nil && !failed && !slow && !c.s.w.access.Wants(false, c.draw) {
		return
	}
	e := ended{"http", c.method, telemetry.HTTPEndName(end), httpFailure(end, false), took, c.draw, slow}
	var attrs []attribute.KeyValue
	if resp != nil {
		attrs = append(attrs, attribute.Int(telemetry.AttrHTTPStatus, resp.StatusCode))
	}
	if span == nil {
		attrs = append(attrs, c.s.attrs(req, c.method)...)
	} else {
		holdForBody(resp, span)
	}
	c.s.finish(ctx, call, span, e, err, attrs...)
}

func (s *seen) attrs(req *http.Request, method string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String(telemetry.AttrHTTPMethod, method),
		attribute.String(telemetry.AttrServerAddress, s.service),
		attribute.String(telemetry.AttrURLPath, req.URL.Path),
	}
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
	t.w.tracer.SendHTTP(actx, out, telemetry.Sampled, s.stranger())
	resp, err := t.next.RoundTrip(out)
	holdForBody(resp, a)
	s.endAttempt(a, call, "", httpFailure(httpEnd(resp, err), false))
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pools.
func (t httpAttempts) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

package telemetry

import (
	"context"
	"maps"
	"net/http"
)

// The keys as http.Header has them: canonical.
var canonical = map[string]string{traceparent: "Traceparent", tracestate: "Tracestate", baggageKey: "Baggage"}

// SendHTTP gives a request the headers of a call's context, on a copy of its
// header: the request's own must not be changed.
func (t *Tracer) SendHTTP(ctx context.Context, req *http.Request, d Decision, foreign bool) {
	var kv fields
	if d == Unsampled {
		if f := forwarded(ctx); f != nil {
			kv = f.fields()
			if b := t.baggage(ctx, foreign); b != "" {
				kv = append(kv, baggageKey, b)
			}
		}
	}
	if kv == nil {
		kv = t.carry(ctx, foreign)
	}
	if len(kv) == 0 {
		return
	}
	h := maps.Clone(req.Header) // the values stay shared, and are only read
	if h == nil {
		h = http.Header{}
	}
	for i := 0; i < len(kv); i += 2 {
		h[canonical[kv[i]]] = []string{kv[i+1]}
	}
	req.Header = h
}

// AcceptHTTP puts what a request's header brought into its context.
func (t *Tracer) AcceptHTTP(ctx context.Context, h http.Header, foreign func() bool) context.Context {
	parent, bag := one(h[canonical[traceparent]]), list(h[canonical[baggageKey]])
	if parent == "" && bag == "" {
		return ctx
	}
	return t.accept(ctx, &incoming{parent, list(h[canonical[tracestate]]), bag}, bag != "" && foreign())
}

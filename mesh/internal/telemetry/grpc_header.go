package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// SendGRPC puts the context of a call into its metadata. foreign says that the
// service has endpoints in other trust domains. It replaces what an
// instrumentation of the application's own has put there.
func (t *Tracer) SendGRPC(ctx context.Context, d Decision, foreign bool) context.Context {
	if d == Unsampled {
		if sent, ok := t.sendUnsampled(ctx, foreign); ok {
			return sent
		}
	}
	kv := t.carry(ctx, foreign)
	if len(kv) == 0 {
		return ctx
	}
	md, has := metadata.FromOutgoingContext(ctx) // a copy
	if !has {
		md = make(metadata.MD, len(kv)/2)
	}
	for i := 0; i < len(kv); i += 2 {
		md[kv[i]] = []string{kv[i+1]}
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// AcceptGRPC puts what a request's metadata brought into its context.
func (t *Tracer) AcceptGRPC(ctx context.Context, md metadata.MD, foreign func() bool) context.Context {
	parent, bag := one(md[traceparent]), list(md[baggageKey])
	if parent == "" && bag == "" {
		return ctx
	}
	return t.accept(ctx, &incoming{parent, list(md[tracestate]), bag}, bag != "" && foreign())
}

// sendUnsampled tells the other end with few allocations: two for a trace that came
// with a request. It does only what is simple.
func (t *Tracer) sendUnsampled(ctx context.Context, foreign bool) (context.Context, bool) {
	sc := trace.SpanContextFromContext(ctx)
	if _, has := metadata.FromOutgoingContext(ctx); has || t.baggage(ctx, foreign) != "" {
		return ctx, false
	}
	if f := forwarded(ctx); f != nil {
		return metadata.NewOutgoingContext(ctx, f.metadata()), true
	}
	if sc.TraceState().Len() > 0 {
		return ctx, false
	}
	return metadata.AppendToOutgoingContext(ctx, traceparent, formatParent(sc)), true
}

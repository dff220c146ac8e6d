package telemetry

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// SendGRPC puts the context of a call into its metadata. foreign says that the
// service has endpoints in other trust domains. It replaces what an
// instrumentation of the application's own has put there.
func (t *Tracer) SendGRPC(ctx context.Context, d Decision, foreign bool) context.Context {
	if d == Unsampled {
		if f := forwarded(ctx); f != nil && t.baggage(ctx, foreign) == "" {
			if _, has := metadata.FromOutgoingContext(ctx); !has {
				return metadata.NewOutgoingContext(ctx, f.md)
			}
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
func (t *Tracer) AcceptGRPC(ctx context.Context, foreign func() bool) context.Context {
	in := incoming{parent: one(metadata.ValueFromIncomingContext(ctx, traceparent)), baggage: list(metadata.ValueFromIncomingContext(ctx, baggageKey))}
	if in.parent == "" && in.baggage == "" {
		return ctx
	}
	in.state = list(metadata.ValueFromIncomingContext(ctx, tracestate))
	return t.accept(ctx, &in, in.baggage != "" && foreign())
}

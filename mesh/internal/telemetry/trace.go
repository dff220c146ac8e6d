package telemetry

import (
	"context"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/weft-mesh/weft/resilience"
)

// DefaultTraceRatio is the share of calls outside of any trace that begin one.
const DefaultTraceRatio = 0.01

// maxRetroactive is how many retroactive spans there may be in a second.
const maxRetroactive = 10

// TraceConfig says which calls leave spans.
type TraceConfig struct {
	// Ratio is the share of calls outside of any trace that begin one, before the
	// provider's sampler is asked; 0: 1 %; negative: none.
	Ratio float64
	// Retroactive leaves one span of a call that was not sampled, after it failed or
	// took longer than 99 % of its method's. False: it leaves none.
	Retroactive bool
	// ForeignBaggage passes baggage to and from other trust domains; false: it ends there.
	ForeignBaggage bool
}

// Tracer makes the spans of a member. A nil Tracer makes none.
type Tracer struct {
	cfg   TraceConfig
	t     trace.Tracer
	below uint64 // a draw below it begins a trace
	late  limit
	r     *Registry
}

// NewTracer makes a Tracer of a provider. r counts what it drops.
func NewTracer(p trace.TracerProvider, cfg TraceConfig, r *Registry) *Tracer {
	switch {
	case cfg.Ratio == 0:
		cfg.Ratio = DefaultTraceRatio
	case !(cfg.Ratio > 0):
		cfg.Ratio = 0
	}
	return &Tracer{
		cfg:   cfg,
		t:     p.Tracer(Scope, trace.WithSchemaURL(SchemaURL)),
		below: uint64(min(cfg.Ratio, 1) * (math.MaxUint32 + 1)),
		late:  limit{every: time.Second, burst: maxRetroactive},
		r:     r,
	}
}

// Decision is what becomes of a call in the traces.
type Decision uint8

const (
	// Untraced: it is in no trace.
	Untraced Decision = iota
	// Unsampled: it is in a trace that is not recorded, and says so to the other end.
	Unsampled
	// Sampled: it gets spans, if the provider agrees.
	Sampled
)

// Decide decides on an outbound call. It allocates nothing. The application's own
// span decides; without one, a request that this process serves has decided before.
func (t *Tracer) Decide(ctx context.Context, draw uint32) Decision {
	if t == nil {
		return Untraced
	}
	if d := parent(ctx); d != Untraced {
		return d
	}
	if resilience.InboundFrom(ctx) == nil && uint64(draw) < t.below {
		return Sampled
	}
	return Untraced
}

// DecideInbound decides on a request, whose caller's context is in ctx.
func (t *Tracer) DecideInbound(ctx context.Context, draw uint32) Decision {
	if t == nil {
		return Untraced
	}
	if d := parent(ctx); d != Untraced || uint64(draw) >= t.below {
		return d
	}
	return Sampled
}

func parent(ctx context.Context) Decision {
	sc := trace.SpanContextFromContext(ctx)
	switch {
	case !sc.IsValid():
		return Untraced
	case sc.IsSampled():
		return Sampled
	}
	return Unsampled
}

// Kinds of spans.
const (
	Client = trace.SpanKindClient
	Server = trace.SpanKindServer
)

// Carries reports whether a call has to tell the other end something.
func (t *Tracer) Carries(ctx context.Context, d Decision) bool {
	return t != nil && (d != Untraced || baggage.FromContext(ctx).Len() > 0)
}

// TraceID is the trace of a context, empty if there is none.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		return sc.TraceID().String()
	}
	return ""
}

// Span is a span of a call or of a request that is served.
type Span struct{ span trace.Span }

// Serve begins the span of a request.
func (t *Tracer) Serve(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, Span) {
	ctx, s := t.t.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attrs...))
	return ctx, Span{s}
}

// Recorded reports whether the provider's sampler agreed.
func (s Span) Recorded() bool { return s.span.IsRecording() }

// Rename gives a span the name that was not known at its begin.
func (s Span) Rename(name string) { s.span.SetName(name) }

// End ends a span. failure is what went wrong, empty for a success.
func (s Span) End(failure string, attrs ...attribute.KeyValue) {
	s.mark(failure, attrs...)
	s.span.End()
}

func (s Span) mark(failure string, attrs ...attribute.KeyValue) {
	s.span.SetAttributes(attrs...)
	if failure != "" {
		s.span.SetAttributes(attribute.String(AttrErrorType, failure))
		s.span.SetStatus(codes.Error, failure)
	}
}

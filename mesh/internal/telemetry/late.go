package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Late leaves one span of a call that has ended and was not sampled, unless there
// are too many. Its sampler can tell it by AttrRetroactive; in a trace that its
// caller does not record it is a root, linked to the caller's span.
func (t *Tracer) Late(ctx context.Context, kind trace.SpanKind, name, why, failure string, took time.Duration, attrs ...attribute.KeyValue) {
	if t == nil || !t.cfg.Retroactive {
		return
	}
	end := time.Now()
	if _, ok := t.late.allow(end); !ok {
		t.r.add1(countKey{metric: RetroactiveDropped})
		return
	}
	opts := []trace.SpanStartOption{
		trace.WithSpanKind(kind), trace.WithTimestamp(end.Add(-took)),
		trace.WithAttributes(append(attrs, attribute.String(AttrRetroactive, why))...),
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && !sc.IsSampled() {
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: sc}))
	}
	_, s := t.t.Start(ctx, name, opts...)
	if failure != "" {
		s.SetAttributes(attribute.String(AttrErrorType, failure))
		s.SetStatus(codes.Error, failure)
	}
	s.End(trace.WithTimestamp(end))
}

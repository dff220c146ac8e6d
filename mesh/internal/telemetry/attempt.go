package telemetry

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Call is a sampled call: a span of its own, and one for each attempt below it.
type Call struct {
	Span
	// Owner is for whoever makes the attempts.
	Owner any

	t    *Tracer
	name string

	mu      sync.Mutex
	made    int
	running int
	last    string // what the newest attempt that ended failed with
}

// Call begins the span of an outbound call.
func (t *Tracer) Call(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, *Call) {
	ctx, s := t.t.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx, &Call{Span: Span{s}, t: t, name: name}
}

// Attempt is one attempt of a Call.
type Attempt struct {
	c    *Call
	span trace.Span
	// N is its number, from 1.
	N int
}

// Attempt begins the span of an attempt. An attempt that begins while another one
// runs is a hedge, one after another is a retry.
func (c *Call) Attempt(ctx context.Context) (context.Context, *Attempt) {
	c.mu.Lock()
	c.made++
	a := &Attempt{c: c, N: c.made}
	reason, cause := "first", ""
	switch {
	case c.made > 1 && c.running > 0:
		reason = "hedge"
	case c.made > 1:
		reason, cause = "retry", c.last
	}
	c.running++
	c.mu.Unlock()
	attrs := []attribute.KeyValue{attribute.Int(AttrAttempt, a.N), attribute.String(AttrReason, reason)}
	if cause != "" {
		attrs = append(attrs, attribute.String(AttrCause, cause))
	}
	ctx, a.span = c.t.t.Start(ctx, c.name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx, a
}

// End ends the attempt. failure is what went wrong, empty for a success.
func (a *Attempt) End(failure string, attrs ...attribute.KeyValue) {
	a.c.mu.Lock()
	a.c.running--
	a.c.last = failure
	a.c.mu.Unlock()
	a.span.SetAttributes(attrs...)
	if failure != "" {
		a.span.SetAttributes(attribute.String(AttrErrorType, failure))
		a.span.SetStatus(codes.Error, failure)
	}
	a.span.End()
}

// Once is f as it may be called more than once; only the first time counts.
func (a *Attempt) Once(f func(error)) func(error) {
	var once sync.Once
	return func(err error) { once.Do(func() { f(err) }) }
}

type callKey struct{}

// With puts the call into the context of its attempts, for a transport below.
func (c *Call) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom is the sampled call of a context, or nil.
func CallFrom(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

package telemetry

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Call is a sampled call: a span of its own, and one for each attempt below it.
type Call struct {
	Span
	// Owner is for whoever makes the attempts.
	Owner any

	t    *Tracer
	name string
	hold hold

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
	N    int
	hold hold
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
	a.hold.end(Span{a.span}, failure, attrs)
}

// End ends the span of the call. failure is what went wrong, empty for a success.
func (c *Call) End(failure string, attrs ...attribute.KeyValue) { c.hold.end(c.Span, failure, attrs) }

// hold keeps a span open beyond its End.
type hold struct{ on, failed bool }

func (h *hold) end(s Span, failure string, attrs []attribute.KeyValue) {
	s.mark(failure, attrs...)
	h.failed = failure != ""
	if !h.on {
		s.span.End()
	}
}

func (h *hold) release(s Span, failure string) {
	if h.failed {
		failure = "" // it is said what went wrong first
	}
	s.End(failure)
}

// Hold makes End keep the span open for Release, for what is left when the answer is
// there: its body. It comes before End.
func (a *Attempt) Hold() { a.hold.on = true }

// Release ends a span that was held, after its End and once. failure is what went wrong
// since, empty for nothing.
func (a *Attempt) Release(failure string) { a.hold.release(Span{a.span}, failure) }

// Hold and Release are those of an Attempt.
func (c *Call) Hold() { c.hold.on = true }

// Release ends the span.
func (c *Call) Release(failure string) { c.hold.release(c.Span, failure) }

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

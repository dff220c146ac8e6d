package telemetry

import (
	"context"
	"encoding/hex"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The headers of W3C Trace Context and Baggage, in gRPC's lower case.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	baggageKey  = "baggage"
)

// maxBaggage bounds baggage, both ways, in bytes; it is W3C's own number.
const maxBaggage = 8 << 10

// fields takes what a propagator sets, in order: key, value, key, value.
type fields []string

func (f *fields) Get(string) string   { return "" }
func (f *fields) Keys() []string      { return nil }
func (f *fields) Set(key, val string) { *f = append(*f, key, val) }

// carry is the context of a call in headers: the span's, and the baggage unless the
// service has endpoints in other trust domains.
func (t *Tracer) carry(ctx context.Context, foreign bool) fields {
	var f fields
	propagation.TraceContext{}.Inject(ctx, &f)
	if b := t.baggage(ctx, foreign); b != "" {
		f.Set(baggageKey, b)
	}
	return f
}

// baggage is what goes to the other end; empty if there is none or it is too big.
func (t *Tracer) baggage(ctx context.Context, foreign bool) string {
	if foreign && !t.cfg.ForeignBaggage {
		return ""
	}
	b := baggage.FromContext(ctx)
	if b.Len() == 0 {
		return ""
	}
	s := b.String()
	if len(s) > maxBaggage {
		return "" // W3C lets a sender drop it; half of it would say something else
	}
	return s
}

// incoming is what a request brought.
type incoming struct{ parent, state, baggage string }

func (in *incoming) Get(key string) string {
	switch key {
	case traceparent:
		return in.parent
	case tracestate:
		return in.state
	}
	return ""
}
func (in *incoming) Keys() []string     { return []string{traceparent, tracestate} }
func (in *incoming) Set(string, string) {}

// forward is the header of an unsampled trace, kept to be sent on as it came.
type forward struct {
	id            trace.TraceID
	parent, state string

	once sync.Once
	md   map[string][]string // made for the first call of the request
}

func (f *forward) metadata() map[string][]string {
	f.once.Do(func() {
		f.md = map[string][]string{traceparent: {f.parent}}
		if f.state != "" {
			f.md[tracestate] = []string{f.state}
		}
	})
	return f.md
}

func (f *forward) fields() fields {
	if f.state == "" {
		return fields{traceparent, f.parent}
	}
	return fields{traceparent, f.parent, tracestate, f.state}
}

// formatParent is a traceparent of version 00.
func formatParent(sc trace.SpanContext) string {
	b := make([]byte, 0, parentLen)
	id, span := sc.TraceID(), sc.SpanID()
	b = hex.AppendEncode(append(b, "00-"...), id[:])
	b = hex.AppendEncode(append(b, '-'), span[:])
	return string(append(b, '-', '0', '0'+byte(sc.TraceFlags()&trace.FlagsSampled)))
}

// parentLen is the length of a traceparent of version 00.
const parentLen = 55

type forwardKey struct{}

// accept puts what a request brought into its context. A header that makes no
// sense is as good as none.
func (t *Tracer) accept(ctx context.Context, in *incoming, foreign bool) context.Context {
	if in.parent != "" {
		remote := propagation.TraceContext{}.Extract(ctx, in)
		if sc := trace.SpanContextFromContext(remote); sc.IsRemote() {
			ctx = remote
			if !sc.IsSampled() && len(in.parent) == parentLen { // else of a later version than 00
				ctx = context.WithValue(ctx, forwardKey{}, &forward{id: sc.TraceID(), parent: in.parent, state: sc.TraceState().String()})
			}
		}
	}
	if in.baggage == "" || len(in.baggage) > maxBaggage || foreign && !t.cfg.ForeignBaggage {
		return ctx
	}
	b, err := baggage.Parse(in.baggage)
	if err != nil && b.Len() == 0 {
		return ctx
	}
	return baggage.ContextWithBaggage(ctx, b)
}

// forwarded is the header of the trace that ctx is in, if it came with a request.
func forwarded(ctx context.Context) *forward {
	f, _ := ctx.Value(forwardKey{}).(*forward)
	if f == nil || f.id != trace.SpanContextFromContext(ctx).TraceID() {
		return nil
	}
	return f
}

// one is a header that is there once; a traceparent that came twice is none.
func one(v []string) string {
	if len(v) == 1 {
		return v[0]
	}
	return ""
}

// list is a header that may come in parts.
func list(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return strings.Join(v, ",")
}

package telemetry

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/resilience"
)

func newTracer(cfg TraceConfig) (*Tracer, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	return NewTracer(p, cfg, NewRegistry(Config{})), spans
}

func in(flags trace.TraceFlags) context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags}))
}

func TestDecide(t *testing.T) {
	t.Parallel()
	inbound, _ := resilience.NewInbound(context.Background(), 1)
	for _, tt := range []struct {
		name  string
		ratio float64
		ctx   context.Context
		draw  uint32
		want  Decision
	}{
		{"root, drawn", 0, context.Background(), 1 << 20, Sampled},
		{"root, not drawn", 0, context.Background(), 1 << 31, Untraced},
		{"root, all", 1, context.Background(), 1<<32 - 1, Sampled},
		{"root, none", -1, context.Background(), 0, Untraced},
		{"sampled parent", -1, in(trace.FlagsSampled), 1 << 31, Sampled},
		{"unsampled parent", 1, in(0), 0, Unsampled},
		{"within a request that is in no trace", 1, inbound, 0, Untraced},
	} {
		tr, _ := newTracer(TraceConfig{Ratio: tt.ratio})
		if got := tr.Decide(tt.ctx, tt.draw); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	var none *Tracer
	if none.Decide(in(trace.FlagsSampled), 0) != Untraced || none.Carries(in(trace.FlagsSampled), Untraced) {
		t.Error("no tracer traces")
	}
}

func TestReasonsOfAttempts(t *testing.T) {
	t.Parallel()
	tr, spans := newTracer(TraceConfig{})
	ctx, c := tr.Call(context.Background(), "pay")
	_, first := c.Attempt(ctx)
	_, hedge := c.Attempt(ctx)
	hedge.End("UNAVAILABLE")
	first.End("CANCELLED")
	_, retry := c.Attempt(ctx)
	retry.End("")
	c.End("")
	got := map[int64]string{}
	for _, s := range spans.Ended() {
		set := attribute.NewSet(s.Attributes()...)
		n, _ := set.Value(AttrAttempt)
		reason, _ := set.Value(AttrReason)
		cause, _ := set.Value(AttrCause)
		got[n.AsInt64()] = reason.AsString() + " " + cause.AsString()
	}
	if got[1] != "first " || got[2] != "hedge " || got[3] != "retry CANCELLED" || len(got) != 4 {
		t.Errorf("%v", got)
	}
}

func TestRetroactiveSpansAreBounded(t *testing.T) {
	t.Parallel()
	tr, spans := newTracer(TraceConfig{Retroactive: true})
	for range 100 {
		tr.Late(in(0), Client, "pay", "error", "UNAVAILABLE", 1)
	}
	// The clock may have turned to the next second meanwhile.
	n := len(spans.Ended())
	if n < maxRetroactive || n > 5*maxRetroactive {
		t.Errorf("%d spans", n)
	}
	if s := spans.Ended()[0]; s.Parent().IsValid() || len(s.Links()) != 1 || s.Links()[0].SpanContext.TraceID() != (trace.TraceID{1}) {
		t.Error("the span is no root that is linked to its caller's")
	}
}

func TestBaggageIsBounded(t *testing.T) {
	t.Parallel()
	tr, _ := newTracer(TraceConfig{})
	big := "a=" + strings.Repeat("x", maxBaggage)
	for _, tt := range []struct {
		header  string
		foreign bool
		want    string
	}{
		{"a=b", false, "a=b"},
		{"a=b", true, ""},
		{big, false, ""},
		{"=;=", false, ""},
	} {
		ctx := tr.AcceptHTTP(context.Background(), http.Header{"Baggage": {tt.header}}, func() bool { return tt.foreign })
		if got := baggage.FromContext(ctx).String(); got != tt.want {
			t.Errorf("%.20q brought %q, want %q", tt.header, got, tt.want)
		}
	}
}

// A request's header goes on as it came, over both transports.
func TestForward(t *testing.T) {
	t.Parallel()
	tr, _ := newTracer(TraceConfig{})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	ctx := tr.AcceptHTTP(context.Background(), http.Header{"Traceparent": {parent}, "Tracestate": {"a=1", "b=2"}}, nil)
	md, _ := metadata.FromOutgoingContext(tr.SendGRPC(ctx, Unsampled, false))
	req := &http.Request{Header: http.Header{"X": {"y"}}}
	own := req.Header
	tr.SendHTTP(ctx, req, Unsampled, false)
	if md.Get(traceparent)[0] != parent || md.Get(tracestate)[0] != "a=1,b=2" || req.Header.Get("Traceparent") != parent || req.Header.Get("Tracestate") != "a=1,b=2" {
		t.Errorf("gRPC %v, HTTP %v", md, req.Header)
	}
	if len(own) != 1 {
		t.Error("the caller's header was changed")
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1", "k=v")
	f.Add("00-00000000000000000000000000000000-b7ad6b7169203331-00", "", "=")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-x", ",", ";")
	tr, _ := newTracer(TraceConfig{})
	f.Fuzz(func(t *testing.T, parent, state, bag string) {
		ctx := tr.AcceptGRPC(context.Background(), metadata.MD{traceparent: {parent}, tracestate: {state}, baggageKey: {bag}}, func() bool { return false })
		d := tr.DecideInbound(ctx, 1<<31)
		md, _ := metadata.FromOutgoingContext(tr.SendGRPC(ctx, d, false))
		switch v := md.Get(traceparent); {
		case d == Untraced && len(v) > 0:
			t.Errorf("%q is no trace and goes on as %q", parent, v)
		case d != Untraced && (len(v) != 1 || !strings.Contains(parent, v[0][3:52])):
			t.Errorf("%q goes on as %q", parent, v)
		}
		if v := md.Get(baggageKey); len(v) > 0 && len(v[0]) > maxBaggage {
			t.Errorf("%d bytes of baggage go on", len(v[0]))
		}
	})
}

package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// measured is a member's telemetry, kept in memory.
type measured struct {
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	tracer *sdktrace.TracerProvider
	log    *logged
}

func measure(cfg *Config, sampler sdktrace.Sampler) *measured {
	m := &measured{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder(), log: &logged{}}
	m.tracer = sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(m.spans))
	cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(m.reader))
	cfg.TracerProvider = m.tracer
	return m
}

// eventually waits for what follows a call on another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := bound(t); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("waited in vain until %s", what)
			return
		}
	}
}

// value sums what a metric has for points with all of want: the count of durations,
// or the value.
func (m *measured) value(t *testing.T, name string, want ...string) float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := m.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, sm := range rm.ScopeMetrics {
		for _, x := range sm.Metrics {
			if x.Name != name {
				continue
			}
			switch data := x.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					if has(p.Attributes, want) {
						sum += float64(p.Count)
					}
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					if has(p.Attributes, want) {
						sum += float64(p.Value)
					}
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					if has(p.Attributes, want) {
						sum += p.Value
					}
				}
			}
		}
	}
	return sum
}

// has reports whether a set has each "key=value".
func has(set attribute.Set, want []string) bool {
	for _, kv := range want {
		key, v, _ := strings.Cut(kv, "=")
		if got, ok := set.Value(attribute.Key(key)); !ok || got.String() != v {
			return false
		}
	}
	return true
}

// tree is the ended spans, "kind name" by depth, with the attributes named.
func tree(spans []sdktrace.ReadOnlySpan, attrs ...attribute.Key) []string {
	var lines []string
	var walk func(parent trace.SpanID, depth int)
	walk = func(parent trace.SpanID, depth int) {
		for _, s := range spans {
			if s.Parent().SpanID() != parent {
				continue
			}
			line := strings.Repeat("  ", depth) + s.SpanKind().String() + " " + s.Name()
			for _, kv := range s.Attributes() {
				if slices.Contains(attrs, kv.Key) {
					line += fmt.Sprintf(" %s=%s", kv.Key, kv.Value.String())
				}
			}
			lines = append(lines, line)
			walk(s.SpanContext().SpanID(), depth+1)
		}
	}
	walk(trace.SpanID{}, 0)
	return lines
}

// shaky fails the first call with Unavailable, and answers with the baggage.
type shaky struct {
	grpc_testing.UnimplementedTestServiceServer
	fail  chan struct{} // a call that gets one fails
	inner func(context.Context)
}

func (f *shaky) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	if f.inner != nil {
		f.inner(ctx)
	}
	select {
	case <-f.fail:
		return nil, status.Error(codes.Unavailable, "try again")
	default:
		return &grpc_testing.Empty{}, nil
	}
}

func (f *shaky) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Username: baggage.FromContext(ctx).String()}, nil
}

func (f *shaky) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil
		}
	}
}

// measuredPair is a measured server of pay, over gRPC and HTTP, and its measured caller.
func measuredPair(t *testing.T, server, caller Config, f *shaky, h http.HandlerFunc) *Mesh {
	t.Helper()
	e := embedded(t)
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	server.Service, server.Embedded, server.Registrar, server.Propagation = "pay", e, reg, -1
	m := member(t, server)
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, f)
	serve(t, m, srv)
	<-reg.registered
	if h != nil {
		web := Config{Service: "shop", Embedded: e, Propagation: -1, MeterProvider: server.MeterProvider, TracerProvider: server.TracerProvider, Telemetry: server.Telemetry, Authorization: server.Authorization}
		reg.registered = make(chan struct{})
		web.Registrar = reg
		m := member(t, web)
		mux := http.NewServeMux()
		mux.Handle("GET /items/{id}", h)
		serve(t, m, httpServerOf(t, m, mux.ServeHTTP))
		<-reg.registered
	}
	caller.Service, caller.Embedded = "caller", e
	caller.Policy.Idempotent = []string{"/grpc.testing.TestService/"}
	return member(t, caller)
}

func TestMetricsOfCalls(t *testing.T) {
	t.Parallel()
	var server, caller Config
	caller.Locality.Cloud = "aws"
	sm, cm := measure(&server, sdktrace.NeverSample()), measure(&caller, sdktrace.NeverSample())
	f := &shaky{fail: make(chan struct{}, 9)}
	m := measuredPair(t, server, caller, f, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) })
	client := dial(t, m, "pay")
	f.fail <- struct{}{} // retried
	for range 3 {
		if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := client.FullDuplexCall(bound(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	if _, err := client.HalfDuplexCall(bound(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := get(bound(t), m, "http://shop/items/7"); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = get(bound(t), m, "http://nobody/")
	method := "rpc.method=grpc.testing.TestService/EmptyCall"
	for _, tt := range []struct {
		in   *measured
		name string
		want float64
		attr []string
	}{
		{cm, "rpc.client.call.duration", 3, []string{method, "rpc.system.name=grpc", "rpc.status_code=OK", "server.address=pay"}},
		{cm, "rpc.client.call.duration", 1, []string{"rpc.method=grpc.testing.TestService/FullDuplexCall", "rpc.status_code=OK"}},
		{sm, "rpc.server.call.duration", 3, []string{method, "rpc.status_code=OK"}},
		{sm, "rpc.server.call.duration", 1, []string{method, "rpc.status_code=UNAVAILABLE", "error.type=UNAVAILABLE"}},
		{cm, "http.client.request.duration", 2, []string{"http.request.method=GET", "server.address=shop", "http.response.status_code=410", "error.type=410"}},
		{cm, "http.client.request.duration", 1, []string{"server.address=nobody", "error.type=unsent"}},
		{sm, "http.server.request.duration", 2, []string{"http.request.method=GET", "http.route=/items/{id}", "http.response.status_code=410", "url.scheme=https"}},
		{sm, "http.server.request.duration", 0, []string{"error.type=410"}},
		{cm, "mesh.client.attempt.duration", 1, []string{"mesh.service=pay", "mesh.outcome=retryable", "mesh.cloud=aws"}},
		{cm, "mesh.client.attempt.duration", 2, []string{"mesh.service=shop", "mesh.outcome=success"}},
		{cm, "mesh.retries", 1, []string{"mesh.service=pay"}},
		{cm, "mesh.hedges", 0, []string{"mesh.service=pay"}},
		{cm, "mesh.endpoints", 1, []string{"mesh.service=pay", "mesh.state=ready"}},
		{cm, "mesh.member", 1, []string{"mesh.service=caller", "mesh.cloud=aws"}},
		{cm, "mesh.breaker.state", 0, []string{"mesh.service=pay"}},
		{cm, "mesh.panic_mode", 0, []string{"mesh.service=pay"}},
	} {
		if got := tt.in.value(t, tt.name, tt.attr...); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.attr, got, tt.want)
		}
	}
	if left := cm.value(t, "mesh.svid.expiry"); left <= 0 || left > cm.value(t, "mesh.svid.lifetime") {
		t.Errorf("the SVID expires in %v s", left)
	}
	if left := cm.value(t, "mesh.retry.budget.remaining", "mesh.service=pay"); left <= 0 {
		t.Errorf("the budget has %v left", left)
	}
}

func TestSpansOfACall(t *testing.T) {
	t.Parallel()
	var server, caller Config
	sm, cm := measure(&server, sdktrace.ParentBased(sdktrace.NeverSample())), measure(&caller, sdktrace.AlwaysSample())
	f := &shaky{fail: make(chan struct{}, 1)}
	m := measuredPair(t, server, caller, f, func(http.ResponseWriter, *http.Request) {})
	ctx, app := cm.tracer.Tracer("app").Start(bound(t), "order") // the application's own
	f.fail <- struct{}{}
	if _, err := dial(t, m, "pay").EmptyCall(ctx, &grpc_testing.Empty{}); err != nil {
		t.Fatal(err)
	}
	if _, err := get(ctx, m, "http://shop/items/7"); err != nil {
		t.Fatal(err)
	}
	stream, err := dial(t, m, "pay").FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.CloseSend()
	_, _ = stream.Recv()
	app.End()
	want := []string{
		"internal order",
		"  client grpc.testing.TestService/EmptyCall mesh.attempts=2",
		"    client grpc.testing.TestService/EmptyCall mesh.attempt.reason=first error.type=UNAVAILABLE",
		"      server grpc.testing.TestService/EmptyCall error.type=UNAVAILABLE",
		"    client grpc.testing.TestService/EmptyCall mesh.attempt.reason=retry mesh.attempt.cause=UNAVAILABLE",
		"      server grpc.testing.TestService/EmptyCall",
		"  client GET",
		"    client GET mesh.attempt.reason=first",
		"      server GET /items/{id}",
		"  client grpc.testing.TestService/FullDuplexCall",
		"    client grpc.testing.TestService/FullDuplexCall mesh.attempt.reason=first",
		"      server grpc.testing.TestService/FullDuplexCall",
	}
	var got []string
	eventually(t, "all spans ended", func() bool { // a server's span ends after its reply is sent
		got = tree(append(cm.spans.Ended(), sm.spans.Ended()...), "mesh.attempt.reason", "mesh.attempt.cause", "error.type", "mesh.attempts")
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("spans:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestUnsampledTraceGoesOn(t *testing.T) {
	t.Parallel()
	var server, caller Config
	caller.Telemetry.TraceRatio = 1
	sm, cm := measure(&server, sdktrace.AlwaysSample()), measure(&caller, sdktrace.NeverSample())
	server.Telemetry.TraceRatio = -1
	var seen []string
	f := &shaky{inner: func(ctx context.Context) {
		md, _ := metadata.FromIncomingContext(ctx)
		seen = md.Get("traceparent")
	}}
	m := measuredPair(t, server, caller, f, nil)
	ctx := trace.ContextWithSpanContext(bound(t), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	if _, err := dial(t, m, "pay").EmptyCall(ctx, &grpc_testing.Empty{}); err != nil {
		t.Fatal(err)
	}
	if want := "00-01000000000000000000000000000000-0200000000000000-00"; !slices.Equal(seen, []string{want}) {
		t.Errorf("traceparent %q, want %q", seen, want)
	}
	if n := len(sm.spans.Ended()) + len(cm.spans.Ended()); n != 0 {
		t.Errorf("%d spans of a trace that is not sampled", n)
	}
}

func TestRetroactiveSpan(t *testing.T) {
	t.Parallel()
	var server, caller Config
	caller.Telemetry = TelemetryConfig{TraceRatio: -1, Retroactive: true}
	measure(&server, sdktrace.NeverSample())
	cm := measure(&caller, sdktrace.AlwaysSample())
	m := measuredPair(t, server, caller, &shaky{}, nil)
	client := dial(t, m, "pay")
	if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UnimplementedCall(bound(t), &grpc_testing.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Fatal(err)
	}
	got := tree(cm.spans.Ended(), "mesh.retroactive", "rpc.status_code", "server.address")
	want := []string{"client grpc.testing.TestService/UnimplementedCall rpc.status_code=UNIMPLEMENTED server.address=pay mesh.retroactive=error"}
	if !slices.Equal(got, want) {
		t.Errorf("spans %q, want %q", got, want)
	}
}

func TestBaggage(t *testing.T) {
	t.Parallel()
	member, err := baggage.NewMember("tenant", "acme")
	if err != nil {
		t.Fatal(err)
	}
	b, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	var server, caller Config
	measure(&server, sdktrace.NeverSample())
	measure(&caller, sdktrace.NeverSample())
	m := measuredPair(t, server, caller, &shaky{}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, baggage.FromContext(r.Context()).String())
	})
	ctx := baggage.ContextWithBaggage(bound(t), b)
	r, err := dial(t, m, "pay").UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	if err != nil || r.Username != "tenant=acme" {
		t.Errorf("gRPC brought %q, %v", r.GetUsername(), err)
	}
	if got, err := get(ctx, m, "http://shop/items/7"); err != nil || got != "tenant=acme" {
		t.Errorf("HTTP brought %q, %v", got, err)
	}
	m.to.of("pay").seen.foreign.Store(true) // what noticing does for an endpoint of another trust domain
	if r, err = dial(t, m, "pay").UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil || r.Username != "" {
		t.Errorf("baggage %q went to another trust domain, %v", r.GetUsername(), err)
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	var server, caller Config
	var out logged
	caller.Telemetry = TelemetryConfig{AccessLog: slog.New(slog.NewJSONHandler(&out, nil)), AccessRatio: 1}
	caller.Policy.Retry.Attempts = 1
	f := &shaky{fail: make(chan struct{}, 1)}
	m := measuredPair(t, server, caller, f, nil)
	client := dial(t, m, "pay")
	if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
		t.Fatal(err)
	}
	f.fail <- struct{}{}
	_, _ = client.EmptyCall(bound(t), &grpc_testing.Empty{})
	_, _ = dial(t, m, "nobody").EmptyCall(bound(t), &grpc_testing.Empty{})
	var got []string
	dec := json.NewDecoder(bytes.NewBufferString(out.String()))
	for {
		var r struct {
			Msg, Service, Method, Status, Flags, Endpoint string
			Attempts                                      int
		}
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %d %q", r.Msg, r.Service, r.Status, r.Flags, r.Attempts, r.Method))
	}
	const method = `"grpc.testing.TestService/EmptyCall"`
	want := []string{
		"access pay OK  1 " + method,
		"access pay UNAVAILABLE  1 " + method,
		"access nobody UNAVAILABLE no_attempt 0 " + method,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

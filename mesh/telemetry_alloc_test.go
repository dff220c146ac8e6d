package mesh

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

const echoMethod = "/grpc.testing.TestService/EmptyCall"

// bare is what is measured of the calls to pay by a member.
func bare(t testing.TB, ratio float64, retroactive bool) *seen {
	t.Helper()
	cfg := Config{Service: "caller", Telemetry: TelemetryConfig{TraceRatio: ratio, Retroactive: retroactive}}
	cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	if ratio != 0 {
		cfg.TracerProvider = sdktrace.NewTracerProvider()
	}
	return member(t, cfg).to.of("pay").seen
}

func noInvoke(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

// through is what telemetry does for a call.
func (s *seen) through(ctx context.Context, call *balancer.Call) {
	w := s.rpc(ctx, echoMethod)
	ctx, invoke, span := w.unary(ctx, call, noInvoke)
	w.end(ctx, call, span, invoke(ctx, echoMethod, nil, nil, nil))
}

// inUnsampled is the context of a request whose caller does not sample.
func inUnsampled(s *seen) context.Context {
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"))
	return s.w.accept(ctx)
}

func TestTelemetryAllocations(t *testing.T) {
	for _, tt := range []struct {
		name        string
		ratio       float64
		retroactive bool
		inbound     bool
		want        float64
	}{
		{"metrics", 0, false, false, 0},
		{"metrics and traces that are not sampled", -1, true, false, 0},
		{"a trace that its caller does not sample", 1, true, true, 2},
	} {
		s := bare(t, tt.ratio, tt.retroactive)
		ctx := context.Background()
		if tt.inbound {
			ctx = inUnsampled(s)
		}
		ctx, call := balancer.NewCall(ctx, "pay", echoMethod)
		for range 200 { // each part of the histogram has its octaves
			s.through(ctx, call)
		}
		if n := testing.AllocsPerRun(2000, func() { s.through(ctx, call) }); n > tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.name, n, tt.want)
		}
	}
}

func TestAttemptAllocations(t *testing.T) {
	s := bare(t, 0, false)
	ep := &resolver.Endpoint{Service: "pay", Locality: resolver.Locality{Cloud: "aws"}}
	for range 200 {
		s.places.Record(ep, resilience.Outcome{Class: resilience.Success}, time.Millisecond)
	}
	if n := testing.AllocsPerRun(2000, func() {
		s.places.Record(ep, resilience.Outcome{Class: resilience.Success}, time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations per attempt", n)
	}
}

// Over HTTP too, with a response whose body is yet to come.
func TestHTTPTelemetryAllocations(t *testing.T) {
	for name, ratio := range map[string]float64{"metrics": 0, "metrics and traces that are not sampled": -1} {
		s := bare(t, ratio, false)
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://pay/", nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, call := balancer.NewCall(context.Background(), "pay", http.MethodGet)
		resp := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("all"))}
		through := func() {
			w := s.request(ctx, req)
			ctx, span := w.begin(ctx, req)
			w.send(req, span)
			w.end(ctx, req, call, span, resp, nil)
		}
		for range 200 {
			through()
		}
		if n := testing.AllocsPerRun(2000, through); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// What metrics add to a call of one attempt: the whole of a call and of an attempt.
func BenchmarkMetrics(b *testing.B) {
	s := bare(b, 0, false)
	ep := &resolver.Endpoint{Service: "pay", Locality: resolver.Locality{Cloud: "aws"}}
	ctx, call := balancer.NewCall(context.Background(), "pay", echoMethod)
	for b.Loop() {
		s.through(ctx, call)
		s.places.Record(ep, resilience.Outcome{Class: resilience.Success}, time.Millisecond)
	}
}

// The same with traces of which none is sampled.
func BenchmarkUnsampled(b *testing.B) {
	s := bare(b, -1, false)
	ctx, call := balancer.NewCall(context.Background(), "pay", echoMethod)
	for b.Loop() {
		s.through(ctx, call)
	}
}

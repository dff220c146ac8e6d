package export_test

import (
	"context"
	"math"
	"net/http/httptest"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/mesh/export"
	"github.com/weft-mesh/weft/mesh/export/prometheus"
)

const duration = "rpc.client.call.duration"

func collect(t *testing.T, r *sdkmetric.ManualReader, name string) metricdata.Aggregation {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name == name {
				return m.Data
			}
		}
	}
	return nil
}

func TestProducer(t *testing.T) {
	t.Parallel()
	const calls = 50
	for _, exponential := range []bool{false, true} {
		p := export.NewProducer(export.Config{Exponential: exponential})
		reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(p))
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		call(t, mesh.Config{MeterProvider: p.Provider(provider)}, calls)
		var count, inBuckets uint64
		var sum, low, high float64
		switch h := collect(t, reader, duration).(type) {
		case metricdata.Histogram[float64]:
			for _, pt := range h.DataPoints {
				if code, _ := pt.Attributes.Value("rpc.status_code"); code.AsString() != "OK" {
					continue
				}
				count, sum = pt.Count, pt.Sum
				bounds := append([]float64{0}, append(pt.Bounds, math.Inf(1))...)
				for i, c := range pt.BucketCounts {
					inBuckets += c
					low, high = low+float64(c)*bounds[i], high+float64(c)*bounds[i+1]
				}
			}
		case metricdata.ExponentialHistogram[float64]:
			if !exponential {
				t.Error("exponential, without being asked")
			}
			for _, pt := range h.DataPoints {
				if code, _ := pt.Attributes.Value("rpc.status_code"); code.AsString() != "OK" {
					continue
				}
				count, sum = pt.Count, pt.Sum
				for i, c := range pt.PositiveBucket.Counts {
					at := math.Exp2(float64(pt.PositiveBucket.Offset+int32(i)) / math.Exp2(float64(pt.Scale)))
					inBuckets += c
					low, high = low+float64(c)*at, high+float64(c)*at*math.Exp2(1/math.Exp2(float64(pt.Scale)))
				}
			}
		default:
			t.Fatalf("exponential %v: no histogram but %T", exponential, h)
		}
		if count != calls || inBuckets != calls {
			t.Errorf("exponential %v: count %d, %d in buckets, want %d", exponential, count, inBuckets, calls)
		}
		// 1 % for a bucket's middle that lies on the other side of a bound.
		if sum < low*0.98 || sum > high*1.02 {
			t.Errorf("exponential %v: the sum is %g s, the buckets hold %g to %g s", exponential, sum, low, high)
		}
	}
}

func TestLeaveDetaches(t *testing.T) {
	t.Parallel()
	p := export.NewProducer(export.Config{})
	m, err := mesh.Join(t.Context(), mesh.Config{Service: "caller", MeterProvider: p.Provider(sdkmetric.NewMeterProvider())})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := p.Produce(t.Context()); len(got) != 1 || len(got[0].Metrics) == 0 {
		t.Errorf("a member produces %d scopes", len(got))
	}
	if err := m.Leave(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.Produce(t.Context()); len(got) != 0 {
		t.Error("a member that left is still read")
	}
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	p, err := prometheus.New(prometheus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	call(t, mesh.Config{MeterProvider: p.MeterProvider()}, 3)
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`rpc_client_call_duration_seconds_count{`,
		`rpc_client_call_duration_seconds_bucket{`,
		`rpc_status_code="OK"`,
		`server_address="pay"`,
		`mesh_endpoints{`,
		`mesh_retries_total{`,
		`mesh_svid_expiry_seconds{`,
		`otel_scope_mesh_member="caller"`,
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("no %s in:\n%s", want, rec.Body)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

package otlp_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/mesh/export/otlp"
)

// collector is an OTLP receiver that remembers names.
type collector struct {
	collectortrace.UnimplementedTraceServiceServer
	metrics metricsServer
	mu      sync.Mutex
	names   map[string]bool
	service string
}

type metricsServer struct {
	collectormetrics.UnimplementedMetricsServiceServer
	c *collector
}

func (s *metricsServer) Export(_ context.Context, req *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for _, rm := range req.ResourceMetrics {
		for _, kv := range rm.Resource.Attributes {
			if kv.Key == "service.name" {
				s.c.service = kv.Value.GetStringValue()
			}
		}
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				s.c.names[m.Name] = true
			}
		}
	}
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

func (c *collector) Export(_ context.Context, req *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.names["span "+s.Name] = true
			}
		}
	}
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

func collect(t *testing.T) (*collector, string) {
	t.Helper()
	c := &collector{names: map[string]bool{}}
	c.metrics.c = c
	srv := grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(srv, c)
	collectormetrics.RegisterMetricsServiceServer(srv, &c.metrics)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { srv.Stop(); wg.Wait() })
	return c, "http://" + l.Addr().String()
}

func TestOpen(t *testing.T) {
	c, addr := collect(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", addr)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,deployment.environment.name=test")
	o, err := otlp.Open(t.Context(), otlp.Config{Service: "checkout"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mesh.Join(t.Context(), mesh.Config{
		Service: "checkout", MeterProvider: o.MeterProvider(), TracerProvider: o.TracerProvider(),
		Telemetry: mesh.TelemetryConfig{TraceRatio: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := m.Dial("nobody")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Invoke(t.Context(), "/pay.Pay/Charge", &collectortrace.ExportTraceServiceRequest{}, &collectortrace.ExportTraceServiceResponse{})
	if err := o.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := m.Leave(context.Background()); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range []string{"rpc.client.call.duration", "mesh.svid.expiry", "span pay.Pay/Charge"} {
		if !c.names[name] {
			t.Errorf("no %s among %v", name, c.names)
		}
	}
	if c.service != "shop" { // the environment's word is the last
		t.Errorf("service.name is %q", c.service)
	}
}

func TestOff(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	o, err := otlp.Open(t.Context(), otlp.Config{})
	if err != nil || o.TracerProvider() != nil || o.MeterProvider() == nil {
		t.Errorf("traces are off: %+v, %v", o, err)
	}
	_ = o.Close(canceled()) // nobody listens
	t.Setenv("OTEL_SDK_DISABLED", "true")
	o, err = otlp.Open(t.Context(), otlp.Config{})
	if err != nil || o.TracerProvider() != nil || o.MeterProvider() != nil {
		t.Errorf("the SDK is off: %+v, %v", o, err)
	}
	if err := o.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBadSettings(t *testing.T) {
	for name, v := range map[string]string{"OTEL_METRICS_EXPORTER": "console", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, v)
			if _, err := otlp.Open(t.Context(), otlp.Config{}); err == nil || !strings.Contains(err.Error(), v) || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

package main

import (
	"context"
	"errors"
	"net"
	"runtime"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/mesh"
)

// mode is what a pair of members measures.
type mode struct {
	name    string
	metrics bool
	caller  bool            // only the caller measures
	traces  float64         // the ratio; 0: none
	parent  context.Context // of its calls
}

// modes are all that are compared; the first is the one that others are compared to.
var modes = []mode{
	{name: "off", parent: context.Background()},
	{name: "metrics", metrics: true, parent: context.Background()},
	{name: "metrics of the caller", metrics: true, caller: true, parent: context.Background()},
	{name: "unsampled", metrics: true, traces: -1, parent: context.Background()},
	{name: "one percent", metrics: true, traces: 0.01, parent: context.Background()},
	{name: "unsampled parent", metrics: true, traces: 0.01, parent: trace.ContextWithSpanContext(context.Background(),
		trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}))},
	{name: "a header alone", parent: metadata.AppendToOutgoingContext(context.Background(),
		"traceparent", "00-01000000000000000000000000000000-0100000000000000-00")},
}

func (m mode) config(service string, e *mesh.Embedded) mesh.Config {
	cfg := mesh.Config{Service: service, Embedded: e, Propagation: -1}
	if m.caller && service != "caller" {
		return cfg
	}
	if m.metrics {
		cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	}
	if m.traces != 0 {
		cfg.TracerProvider = sdktrace.NewTracerProvider() // samples what the mesh begins
		cfg.Telemetry.TraceRatio = m.traces
	}
	return cfg
}

// pair is a server and its caller in one process.
type pair struct {
	mode    mode
	client  grpc_testing.TestServiceClient
	closers []func() error
}

func start(ctx context.Context, m mode) (p *pair, err error) {
	p = &pair{mode: m}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	e, err := mesh.NewEmbedded(nil)
	if err != nil {
		return p, err
	}
	server, err := mesh.Join(ctx, m.config("echo", e))
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, func() error { return server.Leave(context.Background()) })
	srv := server.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, echo{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return p, err
	}
	sctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(sctx, srv, l) }()
	p.closers = append(p.closers, func() error { stop(); return <-served })
	caller, err := mesh.Join(ctx, m.config("caller", e))
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, func() error { return caller.Leave(context.Background()) })
	conn, err := caller.Dial("echo")
	if err != nil {
		return p, err
	}
	p.client = grpc_testing.NewTestServiceClient(conn)
	// The server may not be announced yet.
	for ready, end := time.NewTicker(5*time.Millisecond), time.Now().Add(10*time.Second); ; <-ready.C {
		if _, err = p.client.EmptyCall(ctx, &grpc_testing.Empty{}, grpc.WaitForReady(true)); err == nil || time.Now().After(end) {
			ready.Stop()
			return p, err
		}
	}
}

// slice calls for a while, one call after another.
func (p *pair) slice(ctx context.Context, d time.Duration) (ns, mallocs, calls float64, err error) {
	end, has := ctx.Deadline()
	if !has {
		end = time.Now().Add(time.Minute)
	}
	cctx, cancel := context.WithDeadline(p.mode.parent, end) // without it each call would get a timer
	defer cancel()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	var took time.Duration
	for took < d {
		for range 50 {
			if _, err := p.client.EmptyCall(cctx, &grpc_testing.Empty{}); err != nil {
				return 0, 0, 0, err
			}
			calls++
		}
		took = time.Since(start)
		if ctx.Err() != nil {
			return 0, 0, 0, ctx.Err()
		}
	}
	runtime.ReadMemStats(&after)
	return float64(took) / calls, float64(after.Mallocs - before.Mallocs), calls, nil
}

func (p *pair) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	return errors.Join(errs...)
}

type echo struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (echo) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, nil
}

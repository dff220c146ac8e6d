// Package otlp sends what a member measures and traces to an OpenTelemetry
// collector, as the OTEL_* variables say.
//
//	o, err := otlp.Open(ctx, otlp.Config{Service: "checkout"})
//	defer o.Close(context.Background())
//	m, err := mesh.Join(ctx, mesh.Config{Service: "checkout", MeterProvider: o.MeterProvider(), TracerProvider: o.TracerProvider()})
//
// The variables are OpenTelemetry's own, read by its SDK:
// OTEL_EXPORTER_OTLP_ENDPOINT (else a collector on this machine), _PROTOCOL ("grpc"
// or "http/protobuf"), _HEADERS, _CERTIFICATE and their like,
// OTEL_METRIC_EXPORT_INTERVAL, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES. OTEL_METRICS_EXPORTER or OTEL_TRACES_EXPORTER "none"
// turns one off, OTEL_SDK_DISABLED "true" both.
package otlp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/mesh/export"
)

// Config says what the variables do not.
type Config struct {
	// Service is service.name of the resource, unless OTEL_SERVICE_NAME or
	// OTEL_RESOURCE_ATTRIBUTES name it. Empty: the SDK's own, "unknown_service".
	Service string
	// Exponential sends durations as exponential histograms, like
	// OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION with the value
	// base2_exponential_bucket_histogram. false: as that says, else in classic buckets.
	Exponential bool
}

// Providers are the two providers, nil where the variables turn one off.
type Providers struct {
	metrics  *sdkmetric.MeterProvider
	traces   *sdktrace.TracerProvider
	producer *export.Producer
}

// Open makes the providers. It does not wait for the collector.
func Open(ctx context.Context, cfg Config) (_ *Providers, err error) {
	p := &Providers{}
	if os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return p, nil
	}
	defer func() {
		if err != nil {
			_ = p.Close(ctx)
			err = fmt.Errorf("export/otlp: %w", err)
		}
	}()
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", cmp.Or(cfg.Service, "unknown_service"))), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	if on, err := wanted("OTEL_METRICS_EXPORTER"); err != nil {
		return nil, err
	} else if on {
		exporter, err := metricExporter(ctx)
		if err != nil {
			return nil, err
		}
		const native = "base2_exponential_bucket_histogram"
		p.producer = export.NewProducer(export.Config{Exponential: cfg.Exponential || os.Getenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION") == native})
		p.metrics = sdkmetric.NewMeterProvider(sdkmetric.WithResource(res),
			sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(p.producer))))
	}
	if on, err := wanted("OTEL_TRACES_EXPORTER"); err != nil {
		return nil, err
	} else if on {
		exporter, err := traceExporter(ctx)
		if err != nil {
			return nil, err
		}
		p.traces = sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	}
	return p, nil
}

// wanted reads which exporter a signal has.
func wanted(name string) (bool, error) {
	switch v := os.Getenv(name); v {
	case "", "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("%s=%q: this package knows otlp and none", name, v)
	}
}

// protocol reads how a signal travels.
func protocol(name string) (http bool, err error) {
	switch v := cmp.Or(os.Getenv(name), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")); v {
	case "", "grpc":
		return false, nil
	case "http/protobuf":
		return true, nil
	default:
		return false, fmt.Errorf("%s or OTEL_EXPORTER_OTLP_PROTOCOL is %q: use grpc or http/protobuf", name, v)
	}
}

func metricExporter(ctx context.Context) (sdkmetric.Exporter, error) {
	http, err := protocol("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")
	switch {
	case err != nil:
		return nil, err
	case http:
		return otlpmetrichttp.New(ctx)
	}
	return otlpmetricgrpc.New(ctx)
}

func traceExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	http, err := protocol("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	switch {
	case err != nil:
		return nil, err
	case http:
		return otlptracehttp.New(ctx)
	}
	return otlptracegrpc.New(ctx)
}

// MeterProvider is for mesh.Config and for the application's own metrics; nil if
// metrics are off.
func (p *Providers) MeterProvider() metric.MeterProvider {
	if p.metrics == nil {
		return nil
	}
	return p.producer.Provider(p.metrics)
}

// TracerProvider is for mesh.Config and for the application's own spans; nil if
// traces are off.
func (p *Providers) TracerProvider() trace.TracerProvider {
	if p.traces == nil {
		return nil
	}
	return p.traces
}

// Close sends what is left, and ends both. Call it before Mesh.Leave: a member that
// has left is not read any more.
func (p *Providers) Close(ctx context.Context) error {
	var errs []error
	if p.metrics != nil {
		errs = append(errs, p.metrics.Shutdown(ctx))
	}
	if p.traces != nil {
		errs = append(errs, p.traces.Shutdown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("export/otlp: %w", err)
	}
	return nil
}

// Package prometheus makes an endpoint that a Prometheus server can scrape, of what
// a member and its application measure.
//
//	p, err := prometheus.New(prometheus.Config{})
//	m, err := mesh.Join(ctx, mesh.Config{Service: "checkout", MeterProvider: p.MeterProvider()})
//	http.Handle("GET /metrics", p)
//
// Metrics have their OpenTelemetry names with underscores, and the unit and _total
// after them: rpc.client.call.duration is rpc_client_call_duration_seconds.
package prometheus

import (
	"context"
	"fmt"
	"net/http"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/weft-mesh/weft/mesh/export"
)

// Config says how the endpoint shows metrics. The zero value fits every Prometheus.
type Config struct {
	// Native shows durations as native histograms too, which Prometheus has to ask for
	// (--enable-feature=native-histograms). false: in classic buckets.
	Native bool
	// Resource describes the process, as series target_info; nil: what OTEL_SERVICE_NAME
	// and OTEL_RESOURCE_ATTRIBUTES say.
	Resource *resource.Resource
}

// Endpoint is an http.Handler, and the MeterProvider of what it shows.
type Endpoint struct {
	provider *sdkmetric.MeterProvider
	producer *export.Producer
	handler  http.Handler
}

// New makes an Endpoint. It does no I/O.
func New(cfg Config) (*Endpoint, error) {
	e := &Endpoint{producer: export.NewProducer(export.Config{Exponential: cfg.Native})}
	registry := client.NewRegistry()
	reader, err := prometheus.New(prometheus.WithRegisterer(registry), prometheus.WithProducer(e.producer),
		prometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return nil, fmt.Errorf("export/prometheus: %w", err)
	}
	if cfg.Resource == nil {
		cfg.Resource = resource.Environment()
	}
	e.provider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(cfg.Resource))
	e.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return e, nil
}

// MeterProvider is for mesh.Config and for the application's own metrics.
func (e *Endpoint) MeterProvider() metric.MeterProvider { return e.producer.Provider(e.provider) }

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.handler.ServeHTTP(w, r) }

// Close ends the MeterProvider. It is idempotent.
func (e *Endpoint) Close(ctx context.Context) error {
	if err := e.provider.Shutdown(ctx); err != nil && err != sdkmetric.ErrReaderShutdown { //nolint:errorlint // a second Close
		return fmt.Errorf("export/prometheus: %w", err)
	}
	return nil
}

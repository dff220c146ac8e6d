// Package export hands what a member measures to the readers of an OpenTelemetry
// SDK, as whole distributions: an export costs by the number of series, and a call
// nothing beyond its two additions.
//
//	p := export.NewProducer(export.Config{})
//	reader := metric.NewPeriodicReader(exporter, metric.WithProducer(p))
//	provider := metric.NewMeterProvider(metric.WithReader(reader))
//	m, err := mesh.Join(ctx, mesh.Config{Service: "checkout", MeterProvider: p.Provider(provider)})
//
// Package otlp below it does this, and traces, from the OTEL_* variables; package
// prometheus makes an endpoint for a Prometheus server. A MeterProvider without a
// Producer works too: it then records each call when it collects.
//
// It is a module of its own, so that the mesh needs OpenTelemetry's API only.
package export

import (
	"context"
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/weft-mesh/weft/mesh/internal/telemetry"
)

// Config says what a Producer produces.
type Config struct {
	// Exponential gives durations as exponential histograms of scale 5, whose
	// quantiles are at most 2 % off; Prometheus calls them native. false: in buckets
	// with bounds from 0.1 ms to 10 s, those of the semantic conventions among them.
	Exponential bool
}

// Producer is a metric.Producer of the members that were joined with its Provider.
// Give it to each reader. Its values are cumulative.
type Producer struct {
	cfg Config

	mu   sync.Mutex
	from map[*telemetry.Registry]struct{}
}

var _ sdkmetric.Producer = (*Producer)(nil)

// NewProducer makes a Producer without members.
func NewProducer(cfg Config) *Producer {
	return &Producer{cfg: cfg, from: map[*telemetry.Registry]struct{}{}}
}

// Provider is p for the application, and tells a member that is joined with it to
// be read by the Producer.
func (p *Producer) Provider(of metric.MeterProvider) metric.MeterProvider { return provider{of, p} }

type provider struct {
	metric.MeterProvider
	p *Producer
}

// Attach is called by mesh.Join.
func (v provider) Attach(r *telemetry.Registry) (detach func()) {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	v.p.from[r] = struct{}{}
	return func() {
		v.p.mu.Lock()
		defer v.p.mu.Unlock()
		delete(v.p.from, r)
	}
}

// Produce implements metric.Producer. Each member is a scope of its own.
func (p *Producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []metricdata.ScopeMetrics
	for r := range p.from {
		sm := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: telemetry.Scope, SchemaURL: telemetry.SchemaURL, Attributes: r.Member()}}
		metrics, now := r.Collect(), time.Now()
		for _, m := range metrics {
			sm.Metrics = append(sm.Metrics, metricdata.Metrics{Name: m.Name, Description: m.Help, Unit: m.Unit, Data: p.data(m, r.Start(), now)})
		}
		all = append(all, sm)
	}
	return all, nil
}

func (p *Producer) data(m telemetry.Metric, start, now time.Time) metricdata.Aggregation {
	switch {
	case m.Kind == telemetry.Counter:
		sum := metricdata.Sum[int64]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
		for _, v := range m.Values {
			sum.DataPoints = append(sum.DataPoints, metricdata.DataPoint[int64]{Attributes: v.Attrs, StartTime: start, Time: now, Value: int64(v.Value)})
		}
		return sum
	case m.Kind == telemetry.Gauge:
		var g metricdata.Gauge[float64]
		for _, v := range m.Values {
			g.DataPoints = append(g.DataPoints, metricdata.DataPoint[float64]{Attributes: v.Attrs, Time: now, Value: v.Value})
		}
		return g
	case p.cfg.Exponential:
		h := metricdata.ExponentialHistogram[float64]{Temporality: metricdata.CumulativeTemporality}
		for _, s := range m.Series {
			d := s.Read()
			h.DataPoints = append(h.DataPoints, metricdata.ExponentialHistogramDataPoint[float64]{
				Attributes: s.Attrs, StartTime: start, Time: now, Count: d.Count, Sum: d.Sum, Scale: telemetry.Scale,
				PositiveBucket: metricdata.ExponentialBucket{Offset: int32(d.Offset) + firstBucket, Counts: d.Counts},
			})
		}
		return h
	}
	h := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
	for _, s := range m.Series {
		d := s.Read()
		h.DataPoints = append(h.DataPoints, metricdata.HistogramDataPoint[float64]{
			Attributes: s.Attrs, StartTime: start, Time: now, Count: d.Count, Sum: d.Sum,
			Bounds: telemetry.Bounds, BucketCounts: d.Classic(telemetry.Bounds),
		})
	}
	return h
}

// firstBucket is the exponential index of the first bucket: log2 of where it begins,
// times the buckets of an octave.
var firstBucket = int32(math.Round(math.Log2(telemetry.Lower(0)) * (1 << telemetry.Scale)))

package export_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/mesh/export"
	"github.com/weft-mesh/weft/resolver"
)

// A member's distributions come to any reader of the SDK; here to one that is read by
// hand, in a service a PeriodicReader with an exporter.
func Example() {
	producer := export.NewProducer(export.Config{})
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(producer))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	embedded, err := mesh.NewEmbedded(nil)
	if err != nil {
		log.Fatal(err)
	}
	leave, err := inventory(ctx, embedded)
	if err != nil {
		log.Fatal(err)
	}
	defer leave()
	m, err := mesh.Join(ctx, mesh.Config{Service: "checkout", Embedded: embedded, MeterProvider: producer.Provider(provider)})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = m.Leave(context.Background()) }()
	for range 3 {
		resp, err := m.HTTPClient().Get("http://inventory/items/7")
		if err != nil {
			log.Fatal(err)
		}
		_ = resp.Body.Close()
	}

	var rm metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &rm); err != nil {
		log.Fatal(err)
	}
	for _, sm := range rm.ScopeMetrics {
		for _, metric := range sm.Metrics {
			h, ok := metric.Data.(metricdata.Histogram[float64])
			if !ok {
				continue
			}
			for _, p := range h.DataPoints {
				status, _ := p.Attributes.Value("http.response.status_code")
				fmt.Println(metric.Name, metric.Unit, status.String(), p.Count, p.Sum > 0)
			}
		}
	}
	// Output:
	// http.client.request.duration s 200 3 true
	// mesh.client.attempt.duration s  3 true
}

// inventory joins and serves a service until leave is called.
func inventory(ctx context.Context, embedded *mesh.Embedded) (leave func(), err error) {
	m, err := mesh.Join(ctx, mesh.Config{Service: "inventory", Embedded: embedded, Propagation: -1})
	if err != nil {
		return nil, err
	}
	srv, err := m.NewHTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- m.Serve(serving, srv, listener) }()
	ready, found := context.WithCancel(ctx) // Serve announces in its own time
	_ = embedded.Catalog.Watch(ready, "inventory", func(s *resolver.Snapshot) {
		if len(s.Endpoints) > 0 {
			found()
		}
	})
	return func() { stop(); <-served; _ = m.Leave(context.Background()) }, nil
}

package telemetry

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// seriesOf counts the series of a metric, and what they hold.
func seriesOf(r *Registry, name string) (series int, count uint64) {
	for _, m := range r.Collect() {
		if m.Name == name {
			for _, s := range m.Series {
				d := s.Read()
				series, count = series+1, count+d.Count
			}
		}
	}
	return series, count
}

func TestRandomMethodsAreBounded(t *testing.T) {
	t.Parallel()
	r := NewRegistry(Config{MaxMethods: 50})
	g := r.RPCClient("pay")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 2500 {
				g.Cell(fmt.Sprintf("/a.B/M%d-%d", worker, i)).Record(0, time.Millisecond, Draw())
			}
		})
	}
	wg.Wait()
	series, count := seriesOf(r, RPCClientDuration)
	if series > 51 || count != 10_000 {
		t.Errorf("%d series with %d calls, want at most 51 with 10000", series, count)
	}
	other := g.Known("/never/seen")
	s := other.ends[0].Load()
	if v, _ := s.Attrs.Value(AttrRPCMethod); v.AsString() != Other {
		t.Errorf("the rest is %v", s.Attrs.Encoded(attribute.DefaultEncoder()))
	}
}

func TestServicesAreBounded(t *testing.T) {
	t.Parallel()
	r := NewRegistry(Config{})
	for i := range 60 {
		g := r.HTTPServer()
		for k := range 100 {
			g.Cell(HTTPKey{Method: "GET", Pattern: fmt.Sprintf("/%d/%d", i, k)}).Record(HTTPStatus(200), time.Millisecond, 0)
		}
	}
	if series, count := seriesOf(r, HTTPServerDuration); series > maxCells+60 || count != 6000 {
		t.Errorf("%d series with %d requests", series, count)
	}
}

func TestPlacesAreBounded(t *testing.T) {
	t.Parallel()
	r := NewRegistry(Config{EndpointLabels: true})
	p := r.Places("pay")
	for i := range 1000 {
		p.Record(&resolver.Endpoint{Addr: fmt.Sprint(i), Locality: resolver.Locality{Cloud: "aws"}}, resilience.Outcome{Class: resilience.Success}, time.Millisecond)
	}
	if series, count := seriesOf(r, Attempts); series > maxPlaces+1 || count != 1000 {
		t.Errorf("%d series with %d attempts", series, count)
	}
	if got := p.Clouds(); len(got) != 2 || got[0] != "aws" || got[1] != Other {
		t.Errorf("clouds %q", got)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	var none *Registry
	none.Authz("deny", "rule") // is allowed
	r := NewRegistry(Config{})
	for i := range 3 * maxCounts {
		r.Authz("deny", fmt.Sprint("rule ", i))
	}
	r.Ejected("pay")
	r.Ejected("pay")
	got := map[string]int{}
	sum := map[string]float64{}
	for _, m := range r.Collect() {
		for _, v := range m.Values {
			got[m.Name]++
			sum[m.Name] += v.Value
		}
	}
	if got[AuthzDecisions] > maxCounts+1 || sum[AuthzDecisions] != 3*maxCounts || sum[Ejections]+sum[AuthzDecisions] != 3*maxCounts+2 {
		t.Errorf("series %v, sums %v", got, sum)
	}
}

// Through the API alone each duration is recorded once, whoever collects how often.
func TestBridgeReplaysOnce(t *testing.T) {
	t.Parallel()
	one, two := sdkmetric.NewManualReader(), sdkmetric.NewManualReader()
	r := NewRegistry(Config{Service: "checkout"})
	stop, err := Bridge(r, sdkmetric.NewMeterProvider(sdkmetric.WithReader(one), sdkmetric.WithReader(two)))
	if err != nil {
		t.Fatal(err)
	}
	c := r.RPCClient("pay").Cell("/pay.Pay/Charge")
	for round := range 3 {
		for range 10 {
			c.Record(0, 3*time.Millisecond, Draw())
		}
		for _, reader := range []*sdkmetric.ManualReader{one, two} {
			var rm metricdata.ResourceMetrics
			if err := reader.Collect(context.Background(), &rm); err != nil {
				t.Fatal(err)
			}
			var count uint64
			for _, m := range rm.ScopeMetrics[0].Metrics {
				if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
					count += h.DataPoints[0].Count
				}
			}
			if want := uint64(10 * (round + 1)); count != want {
				t.Errorf("%d of %d durations arrived", count, want)
			}
		}
	}
	stop()
}

func TestSlowCalls(t *testing.T) {
	t.Parallel()
	c := newCell(1, true, func(int) []attribute.KeyValue { return nil })
	for i := range 1000 {
		if c.Record(0, time.Duration(900+i%100)*time.Microsecond, 1<<31) {
			t.Fatal("slow, though no p99 is known")
		}
	}
	c.Record(0, time.Millisecond, 0) // looks
	if c.Record(0, time.Millisecond, 1<<31) || !c.Record(0, 2*time.Millisecond, 1<<31) {
		t.Error("1 ms is slow or 2 ms is not, where 99 % take less than 1 ms")
	}
}

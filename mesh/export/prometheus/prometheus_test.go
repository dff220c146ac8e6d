package prometheus_test

import (
	"flag"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/mesh/export/prometheus"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

var update = flag.Bool("update", false, "write testdata/names.txt")

// The names of all series that an endpoint can show are API: dashboards and alerts
// read them. testdata/names.txt holds them; -update writes it.
func TestNames(t *testing.T) {
	t.Parallel()
	p, err := prometheus.New(prometheus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := telemetry.NewRegistry(telemetry.Config{Service: "checkout"})
	stop, err := telemetry.Bridge(r, p.MeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r.RPCClient("pay").Cell("/pay.Pay/Charge").Record(0, time.Second, 0)
	r.RPCServer().Cell("/pay.Pay/Charge").Record(0, time.Second, 0)
	r.HTTPClient("pay").Cell("GET").Record(0, time.Second, 0)
	r.HTTPServer().Cell(telemetry.HTTPKey{Method: "GET"}).Record(0, time.Second, 0)
	r.Places("pay").Record(&resolver.Endpoint{}, resilience.Outcome{}, time.Second)
	r.Observe(func(emit telemetry.Emit) {
		for _, in := range telemetry.Instruments {
			if in.Kind != telemetry.Durations && in.Name != telemetry.Member && in.Name != telemetry.SeriesOverflow {
				emit(in.Name, 1, attribute.String(telemetry.AttrService, "pay"))
			}
		}
	})
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	var names []string
	for line := range strings.Lines(rec.Body.String()) {
		if name, _, ok := strings.Cut(line, "{"); ok && !strings.HasPrefix(line, "#") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	got := strings.Join(slices.Compact(names), "\n") + "\n"
	const file = "testdata/names.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the series are\n%s\nand not, as in %s,\n%s", got, file, want)
	}
}

package prometheus_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/mesh/export/prometheus"
)

// An Endpoint is a handler: http.Handle("GET /metrics", p).
func Example() {
	p, err := prometheus.New(prometheus.Config{})
	if err != nil {
		log.Fatal(err)
	}
	m, err := mesh.Join(context.Background(), mesh.Config{Service: "checkout", MeterProvider: p.MeterProvider()})
	if err != nil {
		log.Fatal(err)
	}
	scrape := httptest.NewRecorder()
	p.ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(scrape.Body.String()) {
		if name, _, ok := strings.Cut(line, "{"); ok && strings.HasPrefix(name, "mesh_svid") {
			fmt.Println(name)
		}
	}
	_ = m.Leave(context.Background())
	_ = p.Close(context.Background())
	// Output:
	// mesh_svid_expiry_seconds
	// mesh_svid_lifetime_seconds
}

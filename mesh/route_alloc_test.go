package mesh

import (
	"context"
	"io"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/resolver"
)

// fiveRoutes is a router of five routes, of which the last takes what the others leave:
// a path, a header, a method and a query are looked at before.
const fiveRoutes = `{"Kind":"service-router","Name":"web","Routes":[
	{"Match":{"HTTP":{"PathPrefix":"/admin"}},"Destination":{"ServiceSubset":"v2"}},
	{"Match":{"HTTP":{"Header":[{"Name":"x-role","Exact":"tester"}]}},"Destination":{"ServiceSubset":"v2"}},
	{"Match":{"HTTP":{"PathRegex":"/v[0-9]+/items","Methods":["PUT"]}},"Destination":{"ServiceSubset":"v2"}},
	{"Match":{"HTTP":{"QueryParam":[{"Name":"debug","Present":true}]}},"Destination":{"ServiceSubset":"v2"}},
	{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"ServiceSubset":"v1","RequestTimeout":"10s","NumRetries":2}}]}`

// allocations are those of one call, client and server, the least of several tries:
// others run now and then.
func allocations(t *testing.T, call func()) float64 {
	t.Helper()
	for range 200 {
		call()
	}
	least := testing.AllocsPerRun(300, call)
	for range 4 {
		least = min(least, testing.AllocsPerRun(300, call))
	}
	return least
}

// A call that a chain of five routes decides about costs at most two allocations more
// than one without a chain.
func TestChainAllocations(t *testing.T) { // not parallel: it counts what the process allocates
	if raceEnabled {
		t.Log("counts hold without the race detector")
		return
	}
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws")
	grpcCall := func(m *Mesh) func() {
		client := dial(t, m, "web")
		ctx := metadata.AppendToOutgoingContext(context.Background(), "x-role", "user", "x-request", "7")
		req := &grpc_testing.SimpleRequest{}
		return func() {
			if r, err := client.UnaryCall(ctx, req, grpc.WaitForReady(true)); err != nil || r.GetUsername() == "" {
				t.Fatal(err)
			}
		}
	}
	httpCall := func(m *Mesh) func() {
		client := m.HTTPClient()
		return func() {
			resp, err := client.Get("http://web/items/7")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.Body.Close(); resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
		}
	}
	for protocol, call := range map[string]func(*Mesh) func(){"gRPC": grpcCall, "HTTP": httpCall} {
		count := func(cfg Config) float64 {
			cfg.Service, cfg.Embedded, cfg.Locality = "caller", e, resolver.Locality{Cloud: "aws"}
			return allocations(t, call(member(t, cfg)))
		}
		none := count(Config{})
		for what, c := range map[string]struct {
			entries []string
			most    float64
		}{
			"no entry":       {[]string{webIsHTTP}, 0},
			"a split":        {[]string{webIsHTTP, subsets, split("90", "10")}, 2},
			"a guarded one":  {[]string{profiled("", `"weft-guard-max-errors":"10"`), subsets, split("90", "10")}, 2},
			"sticky":         {[]string{profiled("", `"weft-sticky":"header:x-request"`), subsets, split("90", "10")}, 2},
			"five routes":    {[]string{webIsHTTP, subsets, fiveRoutes}, 2},
			"Envoy's habits": {[]string{profiled("consul"), subsets, fiveRoutes}, 2},
		} {
			n := count(Config{Chains: newEntries(t, c.entries...).source()})
			t.Logf("%s, %s: %+.0f allocations to %.0f", protocol, what, n-none, none)
			if n-none > c.most {
				t.Errorf("%s, %s: %.0f allocations per call, %.0f without a chain; want at most %.0f more", protocol, what, n, none, c.most)
			}
		}
	}
}

package mesh

import (
	"io"
	"net/http"
	"testing"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// TestAllCritical: when the catalog calls every instance critical, for example
// because it was away and missed their heartbeats, calls are tried rather than
// refused, verified as ever.
func TestAllCritical(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	elsewhere := static.New(static.Config{}) // the test announces
	m := member(t, Config{Service: "payments", Embedded: e, Registrar: elsewhere})
	grpcAddr, _ := serve(t, m, grpcServer(m, &echo{}))
	httpAddr, _ := serve(t, m, httpServerOf(t, m, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	if err := e.Catalog.Set("payments",
		resolver.Endpoint{Addr: grpcAddr, Protocol: "grpc", Health: resolver.Critical},
		resolver.Endpoint{Addr: httpAddr, Protocol: "http", Health: resolver.Critical},
	); err != nil {
		t.Fatal(err)
	}
	caller := member(t, Config{Service: "checkout", Embedded: e})
	if r, err := dial(t, caller, "payments").UnaryCall(bound(t), &grpc_testing.SimpleRequest{}); err != nil || r.GetUsername() == "" {
		t.Errorf("gRPC: %v, %v", r, err)
	}
	if body, err := get(bound(t), caller, "http://payments/"); err != nil || body != "ok" {
		t.Errorf("HTTP: %q, %v", body, err)
	}
}

package mesh

import (
	"io"
	"net/http"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/security/authz"
)

// Each inbound call counts once by what became of it, over gRPC and HTTP, and each call
// to the outside that is not allowed by why; hosts are no labels.
func TestMetricsOfDecisions(t *testing.T) {
	t.Parallel()
	rules := authz.Rules{Default: authz.Deny, Intentions: []authz.Intention{{
		SourceName: "caller", DestinationName: "*", Permissions: []authz.Permission{
			{Action: authz.Allow, HTTP: &authz.HTTPPermission{PathPrefix: "/items/"}},
			{Action: authz.Allow, HTTP: &authz.HTTPPermission{PathExact: "/grpc.testing.TestService/EmptyCall"}},
		},
	}}}
	var enforced, dry, caller Config
	enforced.Authorization.Rules, dry.Authorization.Rules = rules, rules
	dry.Authorization.DryRun = true
	caller.Egress.Allow = []string{"api.example.com"}
	em, dm, cm := measure(&enforced, sdktrace.NeverSample()), measure(&dry, sdktrace.NeverSample()), measure(&caller, sdktrace.NeverSample())
	page := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }
	m := measuredPair(t, enforced, caller, &shaky{}, page)
	rpc := dial(t, m, "pay")
	if _, err := rpc.EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.UnaryCall(bound(t), &grpc_testing.SimpleRequest{}); err == nil {
		t.Error("UnaryCall was allowed")
	}
	stream, err := rpc.FullDuplexCall(bound(t))
	if err == nil {
		_, err = stream.Recv()
	}
	if err == nil || err == io.EOF {
		t.Errorf("FullDuplexCall ended with %v", err)
	}
	for _, path := range []string{"/items/1", "/items/2", "/secret"} {
		_, _ = get(bound(t), m, "http://shop"+path)
	}
	lax := measuredPair(t, dry, Config{}, &shaky{}, nil)
	if _, err := dial(t, lax, "pay").UnaryCall(bound(t), &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("a dry run refuses: %v", err)
	}
	for _, url := range []string{"http://evil.example.com/", "http://evil2.example.com/", "http://0177.1/"} {
		if _, err := get(bound(t), m, url); err == nil {
			t.Errorf("%s was called", url)
		}
	}
	if _, err := m.DialOutside("evil.example.com:443"); err == nil {
		t.Error("a host was dialled that is not allowed")
	}
	for _, tt := range []struct {
		in   *measured
		name string
		want float64
		attr []string
	}{
		{em, "mesh.authz.decisions", 3, []string{"mesh.result=allow"}}, // of pay and shop
		{em, "mesh.authz.decisions", 3, []string{"mesh.result=deny"}},
		{em, "mesh.authz.decisions", 3, []string{"mesh.result=deny", "mesh.rule=default/caller => default/*"}},
		{em, "mesh.authz.decisions", 6, nil},
		{dm, "mesh.authz.decisions", 1, []string{"mesh.result=would_deny"}},
		{dm, "mesh.authz.decisions", 1, nil},
		{cm, "mesh.egress.rejected", 3, []string{"mesh.result=deny", "error.type=not_allowed"}},
		{cm, "mesh.egress.rejected", 1, []string{"mesh.result=deny", "error.type=bad_host"}},
		{cm, "mesh.egress.rejected", 4, nil},
	} {
		if got := tt.in.value(t, tt.name, tt.attr...); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.attr, got, tt.want)
		}
	}
}

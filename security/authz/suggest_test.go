package authz_test

import (
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

// What is suggested from observed calls allows exactly these.
func TestSuggestionsAllowWhatWasSeen(t *testing.T) {
	t.Parallel()
	edges := []security.Edge{
		{Caller: "web", Service: "api", Method: "GET", Path: "/items/7", Count: 3},
		{Caller: "web", Service: "api", Method: "GET", Path: "/items/8", Count: 4},
		{Caller: "web", Service: "api", Method: "POST", Path: "/items", Count: 1},
		{Caller: "order", Service: "api", Method: "POST", Path: "/payment.Payment/Charge", Count: 10},
		{Caller: "web", Service: "db", Method: "GET", Path: "/x.y", Count: 1},
	}
	all, err := security.Suggest(edges)
	if err != nil || len(all) != 2 || all[0].Name != "api" {
		t.Fatalf("%+v, %v", all, err)
	}
	data, err := all[0].JSON()
	if err != nil {
		t.Fatal(err)
	}
	list, err := authz.DecodeEntry(data)
	if err != nil {
		t.Fatal(err)
	}
	p := authz.Compile(authz.Rules{Intentions: list, Default: authz.Allow}, authz.Scope{Service: "api", TrustDomain: "mesh.example"})
	if len(p.Problems()) > 0 {
		t.Fatal(p.Problems())
	}
	for _, tc := range []struct {
		caller, method, path string
		want                 bool
	}{
		{"web", "GET", "/items/7", true}, {"web", "GET", "/items/99", true}, {"web", "POST", "/items", true},
		{"order", "POST", "/payment.Payment/Charge", true},
		{"order", "POST", "/payment.Payment/Refund", false}, // although the default allows
		{"db", "GET", "/items/7", false},
	} {
		id := spiffeid.RequireFromString("spiffe://mesh.example/ns/default/dc/x/svc/" + tc.caller)
		d := p.Decide(&authz.Request{Caller: security.PeerID{ID: id}, Protocol: "http", Method: tc.method, Path: tc.path})
		if d.Allowed != tc.want {
			t.Errorf("%s %s %s: %v by %q", tc.caller, tc.method, tc.path, d.Allowed, d.Rule)
		}
	}
	hcl, err := all[0].HCL()
	if err != nil || !strings.Contains(string(hcl), `PathRegex = "/items/[^/]+"`) || !strings.Contains(string(hcl), "observed 8 calls") {
		t.Errorf("%s, %v", hcl, err)
	}
	for _, bad := range []security.Edge{{}, {Caller: "*", Service: "api", Method: "GET", Path: "/"}, {Caller: "a", Service: "b", Method: "get", Path: "/"}, {Caller: "a", Service: "b", Method: "GET", Path: "x"}} {
		if _, err := security.Suggest([]security.Edge{bad}); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

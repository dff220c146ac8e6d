package authz_test

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

// Only order may charge, and only from Europe; everybody of the mesh may ask for prices.
func Example() {
	rules, err := authz.ParseRules([]byte(`
kind: service-intentions
name: payments
sources:
  - name: order
    permissions:
      - action: allow
        http: {path_exact: /payment.Payment/Charge}
        condition: caller.datacenter.startsWith("eu-")
      - {action: allow, http: {path_exact: /payment.Payment/Price}}
  - name: "*"
    permissions:
      - {action: allow, http: {path_exact: /payment.Payment/Price}}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := authz.New(authz.Config{
		Scope:   authz.Scope{Service: "payments", TrustDomain: "mesh.example"},
		Sources: []authz.Source{authz.Static(rules)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close(context.Background())
	for _, call := range []struct{ dc, caller, method string }{
		{"eu-1", "order", "Charge"}, {"us-1", "order", "Charge"}, {"eu-1", "web", "Charge"}, {"us-1", "web", "Price"},
	} {
		id := spiffeid.RequireFromString("spiffe://mesh.example/ns/default/dc/" + call.dc + "/svc/" + call.caller)
		d := a.Decide(&authz.Request{Caller: security.PeerID{ID: id}, Protocol: "grpc", Method: "POST", Path: "/payment.Payment/" + call.method})
		fmt.Println(call.dc, call.caller, call.method, d.Allowed)
	}
	// Output:
	// eu-1 order Charge true
	// us-1 order Charge false
	// eu-1 web Charge false
	// us-1 web Price true
}

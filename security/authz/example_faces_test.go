package authz_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

// A client that may call one host outside the mesh.
func ExampleEgressTransport() {
	e, err := authz.NewEgress(authz.EgressConfig{Service: "order", Allow: []string{"*.payments.example"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	t := &http.Transport{DialContext: e.Dial(net.Dialer{})}
	client := &http.Client{Transport: authz.EgressTransport(e, t)}
	_, err = client.Get("http://169.254.169.254/latest/meta-data")
	fmt.Println(errors.Is(err, authz.ErrEgress))
	fmt.Println(e.Check("api.payments.example", "443"))
	// Output:
	// true
	// <nil>
}

func ExampleNormalize() {
	for _, path := range []string{"/a/%62", "/a/../admin", "//admin", "/a%2fb"} {
		got, err := authz.Normalize(path)
		fmt.Println(path, "->", got, err != nil)
	}
	// Output:
	// /a/%62 -> /a/b false
	// /a/../admin ->  true
	// //admin ->  true
	// /a%2fb ->  true
}

// Rules in front of a handler. The caller's identity is from mutual TLS; without it
// nobody is let in.
func ExampleHTTPHandler() {
	a, err := authz.New(authz.Config{
		Scope:   authz.Scope{Service: "orders", TrustDomain: "mesh.example"},
		Sources: []authz.Source{authz.Static{Default: authz.Allow}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close(context.Background())
	h := authz.HTTPHandler(a, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "orders") }))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/orders/7", nil))
	fmt.Println(rec.Code)
	// Output: 403
}

// A cluster peering's callers are judged by intentions that name the peering.
func ExampleAuthorizer_SetPeers() {
	a, err := authz.New(authz.Config{
		Scope: authz.Scope{Service: "orders", TrustDomain: "mesh.example"},
		Sources: []authz.Source{authz.Static{Default: authz.Deny, Intentions: []authz.Intention{
			{SourceName: "web", SourcePeer: "partner", DestinationName: "orders", Action: authz.Allow},
		}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close(context.Background())
	web := security.PeerID{ID: spiffeid.RequireFromString("spiffe://partner.example/ns/default/dc/eu/svc/web")}
	may := func() bool {
		return a.Decide(&authz.Request{Caller: web, Protocol: "http", Method: "GET", Path: "/orders/7"}).Allowed
	}
	fmt.Println(may())
	if err := a.SetPeers(map[string]string{"partner": "partner.example"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(may())
	// Output:
	// false
	// true
}

package security_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/devca"
)

// A server and a client of HTTP with mutual TLS. The identities come from a
// development CA here; any Source does.
func Example() {
	ca, err := devca.New(devca.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	web, err := ca.Source("web")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer web.Close()
	payments, err := ca.Source("payments")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer payments.Close()

	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := security.PeerFromRequest(r)
		fmt.Fprintln(w, "hello", peer)
	})
	serverTLS, err := security.HTTPServerTLS(payments, nil) // nil: our own trust domain may connect
	if err != nil {
		fmt.Println(err)
		return
	}
	// In a program: (&http.Server{Handler: hello, TLSConfig: serverTLS}).ServeTLS(listener, "", "")
	srv := httptest.NewUnstartedServer(hello)
	srv.Config.TLSConfig = serverTLS
	go func() { _ = srv.Config.ServeTLS(srv.Listener, "", "") }() // ends with Close
	defer srv.Config.Close()

	for _, expect := range []string{payments.ID().String(), web.ID().String()} {
		clientTLS, err := security.HTTPClientTLS(web, expect)
		if err != nil {
			fmt.Println(err)
			return
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS, ForceAttemptHTTP2: true}}
		resp, err := client.Get("https://" + srv.Listener.Addr().String())
		if err != nil {
			fmt.Println("refused: the server is not", expect)
			continue
		}
		fmt.Println(resp.Proto, resp.Status)
		_ = resp.Body.Close()
		client.CloseIdleConnections()
	}
	// Output:
	// HTTP/2.0 200 OK
	// refused: the server is not spiffe://weft.dev.internal/ns/default/dc/local/svc/web
}

func ExampleClientCredentials() {
	ca, err := devca.New(devca.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	web, err := ca.Source("web")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer web.Close()
	expect := func(*attributes.Attributes) string {
		return "spiffe://weft.dev.internal/ns/default/dc/local/svc/payments"
	}
	conn, err := grpc.NewClient("dns:///payments.internal:8443",
		grpc.WithTransportCredentials(security.ClientCredentials(web, expect)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(conn.Target())
	// Output: dns:///payments.internal:8443
}

package bundleendpoint_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/bundleendpoint"
	"github.com/weft-mesh/weft/security/devca"
)

// A partner serves its bundle, and we federate with it. The identities come from
// development CAs here; any Source does.
func Example() {
	theirs, err := devca.New(devca.Config{TrustDomain: "partner.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := theirs.Source("bundle-server")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	h, err := bundleendpoint.Handler(bundleendpoint.HandlerConfig{TrustDomain: "partner.example", X509: server})
	if err != nil {
		fmt.Println(err)
		return
	}
	conf, err := bundleendpoint.ServerTLS(server)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &http.Server{Handler: h, TLSConfig: conf, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.ServeTLS(l, "", "") }() // ends with Close
	defer srv.Close()

	// The partner has told us the address, the endpoint's ID and, once, its bundle.
	partner := spiffeid.RequireTrustDomainFromString("partner.example")
	known, err := server.GetX509BundleForTrustDomain(partner)
	if err != nil {
		fmt.Println(err)
		return
	}
	foreign, err := bundleendpoint.Follow(bundleendpoint.Config{
		TrustDomain: "partner.example",
		URL:         "https://" + l.Addr().String(),
		EndpointID:  server.ID().String(),
		Bootstrap:   known,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer foreign.Close()
	if err := foreign.WaitAsked(context.Background()); err != nil {
		fmt.Println(err)
		return
	}

	ours, err := devca.New(devca.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	web, err := ours.Source("web")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer web.Close()
	src, err := security.Federate(web, foreign)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	bundle, err := src.GetX509BundleForTrustDomain(partner)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bundle.TrustDomain().Name(), len(bundle.X509Authorities()))
	// Output: partner.example 1
}

package mesh

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/bundleendpoint"
)

// bundles serves the bundle of m on loopback until it is emptied, or the test ends.
func bundles(t testing.TB, m *Mesh) (url string, empty func()) {
	t.Helper()
	srv, err := m.NewBundleServer()
	if err != nil {
		t.Fatal(err)
	}
	var emptied atomic.Bool
	inner := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if emptied.Load() {
			_, _ = io.WriteString(w, `{"keys":[]}`)
			return
		}
		inner.ServeHTTP(w, r)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the bundle server: %v", err)
		}
	})
	return "https://" + l.Addr().String(), func() { emptied.Store(true) }
}

// Members of two trust domains that are federated by bundle endpoints call each other
// over gRPC and HTTP. When one of the domains publishes an empty bundle, the connections
// of its members end within 5 s, streams included, and they may not come back.
func TestFederation(t *testing.T) {
	t.Parallel()
	const payID, webID = "spiffe://a.example/pay", "spiffe://b.example/web"
	a, b := testpki.New(t, "a.example"), testpki.New(t, "b.example")
	// Who serves a domain's bundle is a member of it.
	server := func(ca *testpki.CA) (string, func(), string) {
		id := "spiffe://" + ca.TrustDomain.Name() + "/bundles"
		m := member(t, Config{Service: "bundles", Catalog: static.New(static.Config{}), Identity: testpki.NewSource(ca.SVID(t, id), ca.Bundle())})
		url, empty := bundles(t, m)
		return url, empty, id
	}
	follow := func(ca *testpki.CA, url, id string) []bundleendpoint.Config {
		return []bundleendpoint.Config{{
			TrustDomain: ca.TrustDomain.Name(), URL: url, EndpointID: id, Bootstrap: ca.Bundle(),
			MinRefresh: 100 * time.Millisecond, MaxRefresh: 100 * time.Millisecond,
		}}
	}
	aURL, _, aID := server(a)
	bURL, emptyB, bID := server(b)

	pay := member(t, Config{
		Service: "pay", Catalog: static.New(static.Config{}), Identity: testpki.NewSource(a.SVID(t, payID), a.Bundle()),
		Federation: follow(b, bURL, bID),
		Authorize: func(p security.PeerID) error {
			if p.String() != webID {
				return errors.New("only web of b.example")
			}
			return nil
		},
	})
	grpcAddr, _ := serve(t, pay, grpcServer(pay, &echo{}))
	httpAddr, _ := serve(t, pay, httpServerOf(t, pay, func(w http.ResponseWriter, r *http.Request) {
		peer, _ := security.PeerFromRequest(r)
		_, _ = io.WriteString(w, peer.String())
	}))
	catalog := func(addr string) resolver.Catalog {
		c := static.New(static.Config{})
		if err := c.Set("pay", resolver.Endpoint{Addr: addr, SPIFFEID: payID}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	web := func(addr string) *Mesh {
		return member(t, Config{
			Service: "web", Catalog: catalog(addr), Identity: testpki.NewSource(b.SVID(t, webID), b.Bundle()),
			Federation: follow(a, aURL, aID),
		})
	}
	byGRPC, byHTTP := web(grpcAddr), web(httpAddr)
	for _, m := range []*Mesh{pay, byGRPC, byHTTP} {
		for _, s := range m.federated {
			if err := s.WaitAsked(bound(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	rpc := dial(t, byGRPC, "pay")
	if got, err := rpc.UnaryCall(bound(t), &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true)); err != nil || got.Username != webID {
		t.Fatalf("gRPC: %v, %v", got, err)
	}
	get := func() (string, error) {
		req, err := http.NewRequestWithContext(bound(t), http.MethodGet, "http://pay/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := byHTTP.HTTPClient().Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if got, err := get(); err != nil || got != webID {
		t.Fatalf("HTTP: %q, %v", got, err)
	}
	stream, err := rpc.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	emptyB()
	ended := make(chan error, 1)
	go func() { _, err := stream.Recv(); ended <- err }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the stream goes on")
		}
	case <-time.After(5 * time.Second):
		t.Error("the stream has not ended within 5 s")
	}
	if _, err := rpc.EmptyCall(bound(t), &grpc_testing.Empty{}); err == nil {
		t.Error("gRPC: a member of a domain without a bundle may call")
	}
	if got, err := get(); err == nil && got == webID {
		t.Error("HTTP: a member of a domain without a bundle may call")
	}
	if st := pay.Federation(); len(st) != 1 || st[0].TrustDomain != "b.example" || st[0].X509 != 0 || st[0].Updated.IsZero() {
		t.Errorf("Federation = %+v", st)
	}
}

func TestFederationRefused(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, "a.example")
	one := bundleendpoint.Config{TrustDomain: "b.example", URL: "https://b.example/"}
	for name, list := range map[string][]bundleendpoint.Config{
		"is our own, or is named twice": {one, one},
		"\"a.example\" is our own":      {{TrustDomain: "a.example", URL: "https://a.example/"}},
		"Config.URL":                    {{TrustDomain: "b.example"}},
	} {
		_, err := Join(t.Context(), Config{Service: "x", Catalog: static.New(static.Config{}), Identity: testpki.NewSource(ca.SVID(t, "spiffe://a.example/x"), ca.Bundle()), Federation: list})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

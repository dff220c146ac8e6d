package mesh

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/security/authz"
)

// HTTPClient reaches the hosts outside that Config.Egress allows, and no others, and
// members as before; redirects are judged like requests, and none leads from outside
// into the mesh.
func TestEgressHTTP(t *testing.T) {
	t.Parallel()
	var leaked atomic.Value
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(name, "Weft") || strings.HasPrefix(name, "Traceparent") {
				leaked.Store(name)
			}
		}
		if r.URL.Path == "/in" {
			http.Redirect(w, r, "http://pay/secret", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "outside")
	}))
	defer outside.Close()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a host was called that is not allowed") }))
	defer other.Close()
	e := embedded(t)
	announced := func() watched { return watched{e.Catalog, make(chan struct{}), func() {}} }
	at := announced()
	pay := member(t, Config{Service: "pay", Embedded: e, Registrar: at})
	serve(t, pay, httpServerOf(t, pay, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/out":
			http.Redirect(w, r, outside.URL, http.StatusFound)
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/secret":
			t.Error("a redirect from outside reached a member")
		default:
			_, _ = io.WriteString(w, "pay")
		}
	}))
	<-at.registered
	at = announced()
	dotted := member(t, Config{Service: "stock.v1", Embedded: e, Registrar: at})
	serve(t, dotted, httpServerOf(t, dotted, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "stock") }))
	<-at.registered
	allowed := strings.TrimPrefix(outside.URL, "http://")
	cfg := Config{Service: "web", Embedded: e, Egress: EgressConfig{Allow: []string{allowed}}, Services: map[string]ServicePolicy{"stock.v1": {}}}
	web := member(t, cfg)
	for name, tt := range map[string]struct {
		url, want string
		err       error
	}{
		"a member":                            {"http://pay/", "pay", nil},
		"a member whose name has a dot":       {"http://stock.v1/", "stock", nil},
		"an allowed host":                     {outside.URL, "outside", nil},
		"another port":                        {other.URL, "", authz.ErrEgress},
		"another host":                        {"https://api.example.com/", "", authz.ErrEgress},
		"a redirect to an allowed host":       {"http://pay/out", "outside", nil},
		"a redirect to another":               {"http://pay/other", "", authz.ErrEgress},
		"a redirect from outside to a member": {outside.URL + "/in", "", errInward},
	} {
		body, err := get(bound(t), web, tt.url)
		if body != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %q, %v; want %q, %v", name, body, err, tt.want, tt.err)
		}
	}
	if h := leaked.Load(); h != nil {
		t.Errorf("the header %v went outside", h)
	}
	var of *Error
	if _, err := get(bound(t), web, "http://api.example.com/"); !errors.As(err, &of) || of.Service != "api.example.com" || of.Op != "http" {
		t.Errorf("refused with %v", err)
	}
	none := member(t, Config{Service: "other", Embedded: e})
	if _, err := get(bound(t), none, outside.URL); err == nil {
		t.Error("a host outside was called without Config.Egress")
	}
	dry := member(t, Config{Service: "dry", Embedded: e, Egress: EgressConfig{DryRun: true}})
	if body, err := get(bound(t), dry, outside.URL); err != nil || body != "outside" {
		t.Errorf("dry run: %q, %v", body, err)
	}
}

// DialOutside reaches the hosts that Config.Egress allows and no others, whatever the
// options.
func TestEgressGRPC(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(srv, &echo{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() { srv.Stop(); <-served }()
	m := member(t, Config{Service: "web", Egress: EgressConfig{Allow: []string{l.Addr().String()}}})
	around := grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
		t.Error("the dialer of an option was asked")
		return nil, errors.New("never")
	})
	conn, err := m.DialOutside(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), around)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grpc_testing.NewTestServiceClient(conn).EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
		t.Error(err)
	}
	secure, err := m.DialOutside(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grpc_testing.NewTestServiceClient(secure).EmptyCall(bound(t), &grpc_testing.Empty{}); err == nil {
		t.Error("without an option plaintext was spoken")
	}
	for _, addr := range []string{"api.example.com:443", "127.0.0.1:1", "nonsense"} {
		if _, err := m.DialOutside(addr); err == nil || addr != "nonsense" && !errors.Is(err, authz.ErrEgress) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if _, err := member(t, Config{Service: "none"}).DialOutside(l.Addr().String()); !errors.Is(err, authz.ErrEgress) {
		t.Errorf("without Config.Egress: %v", err)
	}
	if _, err := Join(t.Context(), Config{Service: "bad", Egress: EgressConfig{Allow: []string{"*"}}}); err == nil || !strings.Contains(err.Error(), "Config.Egress") {
		t.Errorf("a bad host: %v", err)
	}
}

package authz_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/security/authz"
)

func egress(t *testing.T, allow ...string) *authz.Egress {
	t.Helper()
	e, err := authz.NewEgress(authz.EgressConfig{Service: "api", Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEgressHosts(t *testing.T) {
	t.Parallel()
	e := egress(t, "api.example.com", "pay.example.org:8443", "*.cdn.example", "192.0.2.7", "10.1.0.0/16", "[2001:db8::1]:443")
	for addr, want := range map[[2]string]bool{
		{"api.example.com", "443"}: true, {"API.Example.COM.", "80"}: true, {"api.example.com", "8443"}: false,
		{"xapi.example.com", "443"}: false, {"api.example.com.evil", "443"}: false, {"evil.com/api.example.com", "443"}: false,
		{"pay.example.org", "8443"}: true, {"pay.example.org", "443"}: false,
		{"a.cdn.example", "443"}: true, {"a.b.cdn.example", "443"}: true, {"cdn.example", "443"}: false, {"xcdn.example", "443"}: false,
		{"192.0.2.7", "443"}: true, {"::ffff:192.0.2.7", "443"}: true, {"192.0.2.8", "443"}: false,
		{"10.1.2.3", "9999"}: true, {"10.2.0.1", "80"}: false, {"2001:db8::1", "443"}: true, {"2001:db8:0::1", "443"}: true,
		{"0xC0000207", "443"}: false, {"3221225991", "443"}: false, {"192.0.2.007", "443"}: false, {"fe80::1%eth0", "443"}: false,
		{"", "443"}: false, {"api.example.com\x00", "443"}: false, {"аpi.example.com", "443"}: false, {"api..example.com", "443"}: false,
	} {
		err := e.Check(addr[0], addr[1])
		if (err == nil) != want || err != nil && !errors.Is(err, authz.ErrEgress) {
			t.Errorf("%s:%s: %v", addr[0], addr[1], err)
		}
	}
	if err := egress(t).Check("localhost", "80"); err == nil {
		t.Error("without a list something is allowed")
	}
	for _, bad := range []string{"", "a b", "*", "*.", "x:0", "x:y", "*.10.0.0.1", "a:b:c", "ex*mple.com", "10.0.0.0/99"} {
		if _, err := authz.NewEgress(authz.EgressConfig{Allow: []string{bad}}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestEgressHTTP(t *testing.T) {
	t.Parallel()
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a host was called that is not allowed") }))
	defer inner.Close()
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, inner.URL, http.StatusFound)
		}
	}))
	defer outer.Close()
	u, err := url.Parse(outer.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: authz.EgressTransport(egress(t, u.Host), tr)}
	for target, want := range map[string]bool{outer.URL: true, outer.URL + "/away": false, inner.URL: false} {
		resp, err := c.Get(target)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != want || err != nil && !errors.Is(err, authz.ErrEgress) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestEgressGRPC(t *testing.T) {
	t.Parallel()
	rig := newRig(t)
	addr := rig.serveGRPC(t, &methods{reached: make(chan seen, 10), asked: &judge{}}, plaintext())
	for name, tc := range map[string]struct {
		allow []string
		want  codes.Code
	}{"allowed": {[]string{addr}, codes.OK}, "another port": {[]string{"127.0.0.1:1"}, codes.PermissionDenied}} {
		e := egress(t, tc.allow...)
		for face, options := range map[string][]grpc.DialOption{"dialer": {authz.EgressDialer(e)}, "interceptors": authz.EgressInterceptors(e)} {
			conn, err := grpc.NewClient("passthrough:///"+addr, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = grpc_testing.NewTestServiceClient(conn).UnaryCall(bound(t), &grpc_testing.SimpleRequest{})
			want := tc.want
			if want != codes.OK && face == "dialer" {
				want = codes.Unavailable // as any address that cannot be dialled
			}
			if status.Code(err) != want {
				t.Errorf("%s, %s: %v", name, face, err)
			}
			_ = conn.Close()
		}
	}
}

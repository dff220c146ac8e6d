package authz_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

// spellings are ways to write a secret path so that one parser sees it and another
// does not.
func spellings(secret string) []string {
	name := strings.TrimPrefix(secret, "/")
	first := fmt.Sprintf("%%%02x", name[0])
	whole := ""
	for i := range len(name) {
		whole += fmt.Sprintf("%%%02X", name[i])
	}
	segments := []string{
		name, first + name[1:], whole, name[:2] + fmt.Sprintf("%%%02x", name[2]) + name[3:], strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name),
		"%25" + first[1:] + name[1:], name + "%00", name + "%20", name + "%09", name + "%0d%0a", name + ";", name + ";a=b", name + "%3b", name + ".", name + "%2e",
		name + "/", name + "//", name + "/.", name + "/..", name + "/x", name + "%2fx", name + "%2Fx", name + "%5cx", `\` + name, name + "?x", name + "%3fx",
		name + "#x", name + "%23x", name + "*", "*" + name, name + "%ff", name + "\xff", name + "%c0%af", "%u0061" + name[1:], name + "%", name + "%2", name + "/%2e%2e/x",
	}
	prefixes := []string{
		"/", "//", "/./", "/../", "/x/../", "/x/%2e%2e/", "/x/%2E./", "/x/.%2e/", "/x%2f../", "/%2e/", "/%2f", "/;/", "/..;/", "/x/..;/", `/\`, "/%5c", "/x//../",
		"/public/../", "/public/%2e%2e/", "/public;/../", "/public%2f..%2f", "/public/..%2f", "/public/x/../../", "///", "/./././", "",
		"http://evil/", "https://evil:1//", "HTTP://evil/x/../",
	}
	var all []string
	for _, p := range prefixes {
		for _, s := range segments {
			all = append(all, p+s)
		}
	}
	return all
}

// seen is what reached a handler.
type seen struct{ judged, routed, uri, handler string }

// judge is an outside engine that notes what it was asked about.
type judge struct {
	mu   sync.Mutex
	last string
}

func (j *judge) Authorize(_ context.Context, r *authz.Request) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = r.Path
	return nil
}

func (j *judge) path() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

var lists = map[string]authz.Rules{
	"deny list": {Default: authz.Allow, Intentions: []authz.Intention{{
		SourceName: "*", DestinationName: "api", Permissions: []authz.Permission{
			{Action: authz.Deny, HTTP: &authz.HTTPPermission{PathPrefix: "/admin"}},
			{Action: authz.Deny, HTTP: &authz.HTTPPermission{PathPrefix: "/grpc.testing.TestService/EmptyCall"}},
		},
	}}},
	"allow list": {Default: authz.Deny, Intentions: []authz.Intention{{
		SourceName: "*", DestinationName: "api", Permissions: []authz.Permission{
			{Action: authz.Allow, HTTP: &authz.HTTPPermission{PathPrefix: "/public", Methods: []string{"GET"}}},
			{Action: authz.Allow, HTTP: &authz.HTTPPermission{PathExact: "/grpc.testing.TestService/UnaryCall"}},
		},
	}}},
}

// secret reports whether any reading of a path that was let through leads to where
// it must not.
func secret(p string) bool {
	for range 3 {
		c := path.Clean("/" + strings.ReplaceAll(p, `\`, "/"))
		if c == "/admin" || strings.HasPrefix(c, "/admin/") {
			return true
		}
		if cut, _, ok := strings.Cut(p, ";"); ok && secret(cut) {
			return true
		}
		next, err := url.PathUnescape(p)
		if err != nil || next == p {
			return false
		}
		p = next
	}
	return false
}

// No spelling of a path reaches a handler that the rules keep it from, and the path
// that was judged is the one that was routed: HTTP/1.1 and HTTP/2, raw.
func TestNoSpellingPasses(t *testing.T) {
	t.Parallel()
	for kind, rules := range lists {
		for proto, open := range map[string]func(*testing.T, string, security.Source, string) roundTripper{"HTTP/1.1": rawHTTP1, "HTTP/2": rawHTTP2} {
			t.Run(kind+" "+proto, func(t *testing.T) {
				t.Parallel()
				rig := newRig(t)
				asked := &judge{}
				a := rig.authorizer(t, authz.Config{Sources: []authz.Source{authz.Static(rules)}, External: asked})
				reached := make(chan seen, 1)
				mux := http.NewServeMux()
				note := func(name string) http.HandlerFunc {
					return func(_ http.ResponseWriter, r *http.Request) {
						u, err := url.ParseRequestURI(r.RequestURI)
						if err != nil {
							t.Errorf("the handler got the URI %q: %v", r.RequestURI, err)
							u = &url.URL{}
						}
						reached <- seen{asked.path(), r.URL.Path, u.Path, name}
					}
				}
				mux.HandleFunc("/admin", note("admin"))
				mux.HandleFunc("/admin/", note("admin"))
				mux.HandleFunc("/", note("other"))
				addr := rig.serveHTTP(t, authz.HTTPHandler(a, mux))
				send := open(t, addr, rig.source(t, "web"), rig.server)
				n, let := 0, 0
				try := func(method, target string) {
					n++
					status := send(method, target)
					select {
					case s := <-reached:
						let++
						switch {
						case status != http.StatusOK && method != http.MethodHead:
							t.Errorf("%s %q: a handler was reached, but the answer is %d", method, target, status)
						case s.judged != s.routed || s.uri != s.routed:
							t.Errorf("%s %q: judged %q, routed %q, URI %q", method, target, s.judged, s.routed, s.uri)
						case s.handler == "admin" || secret(s.routed):
							t.Errorf("%s %q: reached %s as %q", method, target, s.handler, s.routed)
						case kind == "allow list" && (!strings.HasPrefix(s.routed, "/public") || method != "GET"):
							t.Errorf("%s %q: reached %q", method, target, s.routed)
						}
					default:
						if status == http.StatusOK && target != "*" { // net/http answers OPTIONS * itself
							t.Errorf("%s %q: 200 without a handler", method, target)
						}
					}
				}
				for _, target := range spellings("/admin") {
					try("GET", target)
				}
				for _, method := range []string{"get", "Get", "CONNECT", "HEAD", "POST", "OPTIONS", "PURGE", "GET\u0130"} {
					for _, target := range []string{"/admin", "/admin/", "//admin", "/x/../admin", "/%61dmin", "/public/../admin", "*"} {
						try(method, target)
					}
				}
				try("GET", "/public/x")
				if n < 500 {
					t.Errorf("only %d spellings", n)
				}
				if let == 0 {
					t.Error("nothing was let through: the test sees nothing")
				}
				t.Logf("%d spellings, %d let through", n, let)
			})
		}
	}
}

// The same for gRPC: a method is reached under its one name, or not at all.
func TestNoSpellingOfAMethodPasses(t *testing.T) {
	t.Parallel()
	for kind, rules := range lists {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			rig := newRig(t)
			asked := &judge{}
			a := rig.authorizer(t, authz.Config{Sources: []authz.Source{authz.Static(rules)}, External: asked})
			reached := make(chan seen, 1)
			options := append(authz.GRPCServerOptions(a), grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
				m, _ := grpc.MethodFromServerStream(ss)
				reached <- seen{asked.path(), m, m, "unknown"}
				return status.Error(codes.Unimplemented, "unknown")
			}))
			addr := rig.serveGRPC(t, &methods{reached: reached, asked: asked}, options...)
			send := rawHTTP2(t, addr, rig.source(t, "web"), rig.server)
			n, let := 0, 0
			for _, target := range append(spellings("/grpc.testing.TestService/EmptyCall"), "/grpc.testing.TestService/UnaryCall",
				"grpc.testing.TestService/EmptyCall", "/grpc.testing.TestService//EmptyCall", "/grpc.testing.TestService/EmptyCall/",
				"/grpc.testing.TestService/./EmptyCall", "/grpc.testing%2eTestService/EmptyCall", "/grpc.testing.TestService%2fEmptyCall",
				"/a/grpc.testing.TestService/EmptyCall", "/grpc.testing.testservice/emptycall") {
				n++
				send("POST", target)
				select {
				case s := <-reached:
					let++
					switch {
					case s.judged != s.routed:
						t.Errorf("%q: judged %q, routed %q", target, s.judged, s.routed)
					case strings.Contains(s.routed, "EmptyCall") && s.handler != "unknown":
						t.Errorf("%q: reached %q", target, s.routed)
					case kind == "allow list" && s.routed != "/grpc.testing.TestService/UnaryCall":
						t.Errorf("%q: reached %q", target, s.routed)
					}
				default:
				}
			}
			if n < 500 || let == 0 {
				t.Errorf("%d spellings, %d let through: the test sees nothing", n, let)
			}
			t.Logf("%d spellings, %d let through", n, let)
		})
	}
}

type methods struct {
	grpc_testing.UnimplementedTestServiceServer
	reached chan seen
	asked   *judge
}

func (m *methods) note(ctx context.Context) {
	name, _ := grpc.Method(ctx)
	m.reached <- seen{m.asked.path(), name, name, "known"}
}

func (m *methods) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	m.note(ctx)
	return &grpc_testing.Empty{}, nil
}

func (m *methods) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	m.note(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	return &grpc_testing.SimpleResponse{Username: fmt.Sprint(md)}, nil
}

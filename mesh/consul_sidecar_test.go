package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security"
)

// TestSidecars: members next to services that have Consul's built-in proxy, in
// both directions, allowed and denied.
func TestSidecars(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws"})
	for name, test := range map[string]func(*testing.T, *consultest.Agent){
		"a member calls a service behind a sidecar": testCallSidecar,
		"a sidecar of another service is refused":   testStrangeSidecar,
		"a service behind a sidecar calls a member": testSidecarCalls,
		"intentions hold for callers with sidecars": testSidecarIntentions,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, agent)
		})
	}
}

// legacy is a service without Weft or TLS, gRPC or HTTP.
func legacy(t *testing.T, name string, overHTTP bool) (port int) {
	t.Helper()
	in := &instance{name: name}
	if overHTTP {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s unseen", name)
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().(*net.TCPAddr).Port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(srv, answering{in: in})
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) }) // ends with Stop
	t.Cleanup(func() { srv.Stop(); served.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

// withSidecar registers a service with a sidecar that listens on the returned port.
func withSidecar(t *testing.T, a *consultest.Agent, name string, port int) (sidecar int) {
	t.Helper()
	sidecar = ctest.FreePort(t)
	err := a.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: name + "-1", Name: name, Address: "127.0.0.1", Port: port,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Address: "127.0.0.1", Port: sidecar,
			// Its default check waits up to ten seconds before the first look.
			Checks: api.AgentServiceChecks{{Name: "listens", TCP: fmt.Sprintf("127.0.0.1:%d", sidecar), Interval: "1s"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return sidecar
}

func intention(t *testing.T, a *consultest.Agent, from, to string, action api.IntentionAction) {
	t.Helper()
	_, _, err := a.Client().ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: to,
		Sources: []*api.SourceIntention{{Name: from, Action: action}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func testCallSidecar(t *testing.T, a *consultest.Agent) {
	ports := map[string]int{"shop-http": legacy(t, "shop-http", true), "shop-grpc": legacy(t, "shop-grpc", false)}
	for name, port := range ports {
		withSidecar(t, a, name, port)
		ctest.Sidecar(t, a, "-sidecar-for", name+"-1")
	}
	for name := range ports {
		t.Run(name, func(t *testing.T) {
			// Each member has connections of its own: the proxy does not cut open ones.
			for _, action := range []api.IntentionAction{api.IntentionActionAllow, api.IntentionActionDeny, api.IntentionActionAllow} {
				intention(t, a, "web", name, action)
				m := join(t, at(a, "web"))
				c := calls(t, m, name)[map[bool]string{true: "HTTP", false: "gRPC"}[name == "shop-http"]]
				var last error
				until(t, fmt.Sprintf("%s means %s", action, action), func() bool {
					got, err := c(t.Context())
					if (err == nil) != (last == nil) {
						t.Logf("%s: %v", action, err)
					}
					last = err
					if err == nil && got.server != name {
						t.Errorf("answered by %q", got.server)
					}
					return (err == nil) == (action == api.IntentionActionAllow)
				})
				// The proxy sends an alert and closes; whether the alert is read before the
				// reset that follows it, or anything at all, is a matter of luck.
				ended := func(s string) bool { return strings.Contains(fmt.Sprint(last), s) }
				if action == api.IntentionActionDeny && !slices.ContainsFunc([]string{"bad certificate", "reset by peer", "broken pipe"}, ended) {
					t.Errorf("denied with %v, want the proxy to end the handshake", last)
				}
			}
		})
	}
}

// testStrangeSidecar: the catalog says that a port is shop's sidecar, but who
// answers there is the sidecar of another service.
func testStrangeSidecar(t *testing.T, a *consultest.Agent) {
	port := legacy(t, "other", true)
	sidecar := withSidecar(t, a, "other", port)
	ctest.Sidecar(t, a, "-sidecar-for", "other-1")
	err := a.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: "posed-1", Name: "posed", Address: "127.0.0.1", Port: port,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Address: "127.0.0.1", Port: sidecar, Checks: api.AgentServiceChecks{{Name: "ok", TTL: "1h", Status: "passing"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := join(t, at(a, "web"))
	good, bad := calls(t, m, "other")["HTTP"], calls(t, m, "posed")
	until(t, "the sidecar answers for its own service", func() bool { _, err := good(t.Context()); return err == nil })
	each(t, bad, func(t *testing.T, c call) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := c(ctx)
		if err == nil || !strings.Contains(err.Error(), security.ErrUnexpectedPeer.Error()) || !strings.Contains(err.Error(), "/svc/other") {
			t.Errorf("called through a sidecar of another service: %v", err)
		}
	})
}

// onlyWeb is a member that lets the service web in.
func onlyWeb(p security.PeerID) error {
	if s, err := p.Service(); err != nil || s.Service != "web" {
		return errors.New("only web may call")
	}
	return nil
}

func testSidecarCalls(t *testing.T, a *consultest.Agent) {
	for _, kind := range []string{"http", "grpc"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			name := "pay-" + kind
			cfg := at(a, name)
			cfg.Authorize = onlyWeb
			m := join(t, cfg)
			in := &instance{name: name, m: m}
			serveOne(t, in, kind == "http")
			for caller, allowed := range map[string]bool{"web": true, "intruder": false} {
				port := ctest.FreePort(t)
				proxy := ctest.Sidecar(t, a, "-service", caller, "-upstream", fmt.Sprintf("%s:%d", name, port))
				call := plainCall(t, kind, port)
				if !allowed {
					// It is up when it tried to connect, and was refused.
					until(t, "the proxy of the intruder was refused", func() bool {
						if got, err := call(); err == nil {
							t.Fatalf("%s was let in: %+v", caller, got)
						}
						return strings.Contains(proxy.Logs(), "bad certificate") || strings.Contains(proxy.Logs(), "connection reset")
					})
					continue
				}
				var got answer
				until(t, "the proxy of "+caller+" lets calls through", func() (ok bool) {
					var err error
					got, err = call()
					return err == nil
				})
				if id, err := security.ParseServiceID(got.peer); err != nil || id.Service != caller || got.server != name {
					t.Errorf("%s was seen as %+v by %s", caller, got.peer, got.server)
				}
			}
			if n := in.handled.Load(); n == 0 {
				t.Error("no call was handled")
			}
		})
	}
}

// serveOne serves one protocol until the test ends.
func serveOne(t *testing.T, in *instance, http bool) {
	t.Helper()
	var srv any
	if http {
		h, err := in.m.NewHTTPServer(in)
		if err != nil {
			t.Fatal(err)
		}
		srv = h
	} else {
		g := in.m.NewGRPCServer()
		grpc_testing.RegisterTestServiceServer(g, answering{in: in})
		srv = g
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving(t, in.m, srv, l)
}

func serving(t *testing.T, m *mesh.Mesh, srv any, l net.Listener) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := m.Serve(ctx, srv, l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() { end(); served.Wait() })
}

var errForbidden = errors.New("answered 403 Forbidden")

// plainCall calls through the proxy's port as a service without TLS does.
func plainCall(t *testing.T, kind string, port int) func() (answer, error) {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if kind == "grpc" {
		return func() (answer, error) {
			conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
			return answer{r.GetHostname(), r.GetUsername()}, err
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func() (a answer, err error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return a, err
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusForbidden {
			return a, errForbidden
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return a, err
		}
		_, err = fmt.Sscan(string(body), &a.server, &a.peer)
		return a, err
	}
}

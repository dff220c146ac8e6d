package mesh_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
)

// intentions writes who may call a service.
func intentions(t *testing.T, a *consultest.Agent, service string, sources ...*api.SourceIntention) {
	t.Helper()
	e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: service, Sources: sources}
	if _, _, err := a.Client().ConfigEntries().Set(e, nil); err != nil {
		t.Fatal(err)
	}
}

// refused reports whether an answer says that the caller may not.
func refused(err error) bool {
	return status.Code(err) == codes.PermissionDenied || err != nil && strings.Contains(err.Error(), "unexpected newline") || err != nil && strings.Contains(err.Error(), "input does not match")
}

// Intentions in Consul decide who may call, over gRPC and HTTP, L4 and L7, at once
// after they change; and they stay in force while Consul is away, also for a server
// that starts then.
func TestIntentionsAreEnforced(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{})
	protocol := &api.ProxyConfigEntry{Kind: api.ProxyDefaults, Name: "global", Config: map[string]any{"protocol": "http"}}
	if _, _, err := agent.Client().ConfigEntries().Set(protocol, nil); err != nil {
		t.Fatal(err)
	}
	cfg := graceful(agent, "payments")
	cfg.SnapshotDir = t.TempDir()
	start(t, "payments-0", cfg)
	all := map[string]map[string]call{}
	for _, name := range []string{"web", "db"} {
		c := at(agent, name)
		c.Policy = mesh.ServicePolicy{}
		all[name] = calls(t, join(t, c), "payments")
	}
	can := func(name, kind string) bool {
		a, err := all[name][kind](bound(t))
		if err == nil && a.server == "payments-0" {
			return true
		}
		if err != nil && !refused(err) {
			t.Errorf("%s, %s: %v", name, kind, err)
		}
		return false
	}
	for _, kind := range []string{"gRPC", "HTTP"} { // no intention: Consul's default without ACLs
		until(t, kind+" is served", func() bool { return can("web", kind) && can("db", kind) })
	}
	web := &api.SourceIntention{Name: "web", Action: api.IntentionActionAllow}
	everybody := &api.SourceIntention{Name: "*", Action: api.IntentionActionDeny}
	began := time.Now()
	intentions(t, agent, "payments", web, everybody)
	for _, kind := range []string{"gRPC", "HTTP"} {
		until(t, "db may not call", func() bool { return !can("db", kind) })
		if !can("web", kind) {
			t.Errorf("L4, %s: web may not call", kind)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	l7 := &api.SourceIntention{Name: "web", Permissions: []*api.IntentionPermission{
		{Action: api.IntentionActionAllow, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/items", Methods: []string{http.MethodGet}}},
		{Action: api.IntentionActionDeny, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}},
	}}
	intentions(t, agent, "payments", l7, everybody)
	until(t, "the method is denied", func() bool { return !can("web", "gRPC") })
	if !can("web", "HTTP") {
		t.Error("L7: web may not get /items/7")
	}
	// Consul goes away; a server that starts now has the rules of the last one.
	agent.Kill()
	if can("web", "gRPC") || !can("web", "HTTP") {
		t.Error("without Consul the rules have changed")
	}
	// It has the identity and the rules of the last run from disk.
	late := join(t, cfg)
	if !late.Authorizer().Ready() {
		t.Error("a server that starts without Consul has no rules")
	}
}

// A stream that an intention no longer allows is ended within seconds.
func TestStreamsEndWithTheIntention(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{})
	m := join(t, at(agent, "pay"))
	served := serveStreams(t, m)
	web := join(t, at(agent, "web"))
	conn, err := web.Dial("pay")
	if err != nil {
		t.Fatal(err)
	}
	var st grpc_testing.TestService_FullDuplexCallClient
	until(t, "the stream is open", func() bool {
		if st, err = grpc_testing.NewTestServiceClient(conn).FullDuplexCall(bound(t)); err != nil {
			return false
		}
		if err = st.Send(&grpc_testing.StreamingOutputCallRequest{}); err == nil {
			_, err = st.Recv()
		}
		return err == nil
	})
	began := time.Now()
	intentions(t, agent, "pay", &api.SourceIntention{Name: "web", Action: api.IntentionActionDeny})
	if _, err := st.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the stream ended with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	served()
}

type echoing struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (echoing) FullDuplexCall(s grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		if _, err := s.Recv(); err != nil {
			return err
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

// serveStreams serves on loopback until the test, or the function that it returns, ends it.
func serveStreams(t *testing.T, m *mesh.Mesh) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, echoing{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Serve(ctx, srv, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func bound(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

package consul

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/resolver"
)

// TestSidecar: a service that gets a sidecar is reached through it from then on.
func TestSidecar(t *testing.T) {
	t.Parallel()
	a := sharedAgent(t)
	cfg := at(a)
	cfg.Wait = time.Second // Consul does not say everything
	w := read(t, open(t, cfg), "legacy")
	plain := func(id string, port int) *api.AgentServiceRegistration {
		return &api.AgentServiceRegistration{ID: id, Name: "legacy", Port: port, Meta: map[string]string{"version": "2"}}
	}
	register(t, a, plain("legacy-1", 8080))
	register(t, a, plain("legacy-2", 8081))
	if e := w.until("has both instances", known(2)).Endpoints; e[0].SPIFFEID != "" || e[0].Addr != "127.0.0.1:8080" {
		t.Errorf("without a sidecar: %+v", *e[0])
	}
	with := plain("legacy-1", 8080)
	with.Connect = &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
		Address: "127.0.0.1", Port: 21000,
		Checks: api.AgentServiceChecks{{CheckID: "proxy", Name: "listens", TTL: "1h", Status: "passing"}},
		Proxy:  &api.AgentServiceConnectProxyConfig{Config: map[string]any{"protocol": "http"}},
	}}
	register(t, a, with)
	sidecar := func(s *resolver.Snapshot) bool {
		return known(1)(s) && s.Endpoints[0].Addr == "127.0.0.1:21000"
	}
	e := w.until("has the sidecar only", sidecar).Endpoints[0]
	want := "spiffe://" + trustDomain(t, a.Client()) + "/ns/default/dc/dc1/svc/legacy"
	if e.SPIFFEID != want || e.Service != "legacy" || e.Protocol != "http" || e.Metadata["version"] != "2" || e.ID.Instance != "legacy-1-sidecar-proxy" {
		t.Errorf("the sidecar is %+v", *e)
	}
	if err := a.Client().Agent().UpdateTTL("proxy", "", "critical"); err != nil {
		t.Fatal(err)
	}
	w.until("has a critical sidecar", func(s *resolver.Snapshot) bool {
		return known(1)(s) && s.Endpoints[0].Health == resolver.Critical
	})
	native := plain("legacy-3", 8082)
	native.Connect = &api.AgentServiceConnect{Native: true}
	register(t, a, native)
	w.until("has the native instance too", func(s *resolver.Snapshot) bool {
		return known(2)(s) && s.Endpoints[1].Addr == "127.0.0.1:8082" && s.Endpoints[1].SPIFFEID == want
	})
	// Without any sidecar left, what is beside the mesh stays out of it.
	deregister(t, a, "legacy-1-sidecar-proxy")
	w.until("has the native instance only", known(1))
	for _, id := range []string{"legacy-1", "legacy-2", "legacy-3"} {
		deregister(t, a, id)
	}
	w.until("is empty", known(0))
}

func TestSidecarEntries(t *testing.T) {
	t.Parallel()
	const entry = `[{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"aws"},"Service":{"Kind":"connect-proxy","ID":"s","Service":"web-sidecar-proxy","Port":21000,PROXY},"Checks":[]}]`
	for name, tt := range map[string]struct{ proxy, protocol, skipped string }{
		"protocol":             {`"Proxy":{"DestinationServiceName":"web","Config":{"protocol":"grpc"}}`, "grpc", ""},
		"metadata has it":      {`"Meta":{"weft-protocol":"http2"},"Proxy":{"DestinationServiceName":"web","Config":{"protocol":"grpc"}}`, "http2", ""},
		"no config":            {`"Proxy":{"DestinationServiceName":"web","Config":null}`, "", ""},
		"protocol of any kind": {`"Proxy":{"DestinationServiceName":"web","Config":{"protocol":[7]}}`, "", ""},
		"unknown protocol":     {`"Proxy":{"DestinationServiceName":"web","Config":{"protocol":"quic"}}`, "", ""},
		"another service's":    {`"Proxy":{"DestinationServiceName":"api"}`, "", `connect-proxy of "api"`},
		"of nobody":            {`"Proxy":null`, "", `connect-proxy of ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := testMapping.decode(strings.NewReader(strings.Replace(entry, "PROXY", tt.proxy, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if tt.skipped != "" {
				if l.skipped != 1 || !strings.Contains(l.reasons[0], tt.skipped) {
					t.Errorf("skipped %d %q, want %q", l.skipped, l.reasons, tt.skipped)
				}
				return
			}
			if len(l.instances) != 1 || l.sidecars != 1 || l.plain != 0 {
				t.Fatalf("%+v", l)
			}
			if in := l.instances[0]; in.Addr != "10.0.0.1:21000" || in.path != "/ns/default/dc/aws/svc/web" || in.Protocol != tt.protocol {
				t.Errorf("%+v", in)
			}
		})
	}
}

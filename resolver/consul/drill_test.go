package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/resolver"
)

// identified accepts a confirmed list of one endpoint with an identity.
func identified(s *resolver.Snapshot) bool { return known(1)(s) && s.Endpoints[0].SPIFFEID != "" }

func native(name string, port int) *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{Name: name, Port: port, Connect: &api.AgentServiceConnect{Native: true}}
}

// TestFederation reads another datacenter through the local agent, and loses
// and regains it without touching the local one.
func TestFederation(t *testing.T) {
	t.Parallel()
	dcs := ctest.Federate(t, consultest.Config{}, "aws", "gcp")
	aws, gcp := dcs[0], dcs[1]
	register(t, aws, native("web", 1))
	remote := native("web", 2)
	remote.TaggedAddresses = map[string]api.ServiceAddress{"wan": {Address: "203.0.113.7", Port: 8443}}
	register(t, gcp, remote)

	local := read(t, open(t, Config{Address: aws.HTTPAddr(), Name: "aws"}), "web")
	other := read(t, open(t, Config{Address: aws.HTTPAddr(), Datacenter: "gcp"}), "web")
	td := trustDomain(t, aws.Client())
	if e := local.until("is known", identified).Endpoints[0]; e.SPIFFEID != "spiffe://"+td+"/ns/default/dc/aws/svc/web" || e.Addr != "127.0.0.1:1" {
		t.Errorf("local endpoint %+v", e)
	}
	first := other.until("is known", identified).Endpoints[0]
	if first.SPIFFEID != "spiffe://"+td+"/ns/default/dc/gcp/svc/web" || first.Addr != "203.0.113.7:8443" || first.Locality.Cloud != "gcp" {
		t.Errorf("remote endpoint %+v", first)
	}

	gcp.Kill()
	if s := other.until("is stale", stale(1)); s.Endpoints[0] != first {
		t.Errorf("during the outage: %s", show(s))
	}
	register(t, aws, &api.AgentServiceRegistration{ID: "web-2", Name: "web", Port: 3})
	local.until("follows its own datacenter", known(2))
	if err := gcp.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	register(t, gcp, remote)
	other.until("is known again", known(1))
}

func TestPeering(t *testing.T) {
	t.Parallel()
	alpha := sharedAgent(t)
	beta := ctest.Start(t, consultest.Config{Datacenter: "beta"})
	token, _, err := alpha.Client().Peerings().GenerateToken(t.Context(), api.PeeringGenerateTokenRequest{PeerName: "beta"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := beta.Client().Peerings().Establish(t.Context(), api.PeeringEstablishRequest{PeerName: "alpha", PeeringToken: token.PeeringToken}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := alpha.Client().ConfigEntries().Set(&api.ExportedServicesConfigEntry{
		Name: "default", Services: []api.ExportedService{{Name: "exported", Consumers: []api.ServiceConsumer{{Peer: "beta"}}}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	dereg, err := open(t, at(alpha)).Register(t.Context(), resolver.Instance{Service: "exported", Host: "127.0.0.1", Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, Config{Address: beta.HTTPAddr(), Peer: "alpha"})
	w := read(t, c, "exported")
	e := w.until("is known", identified).Endpoints[0]
	want := "spiffe://" + trustDomain(t, alpha.Client()) + "/ns/default/dc/dc1/svc/exported"
	if e.SPIFFEID != want || e.Addr != "127.0.0.1:7" || e.Locality.Cloud != "alpha" {
		t.Errorf("imported endpoint %+v, want identity %s", e, want)
	}
	if err := dereg(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("is empty", known(0))
	read(t, c, "not-exported").until("is known to be empty", known(0))
}

func TestACL(t *testing.T) {
	t.Parallel()
	a := ctest.Start(t, consultest.Config{ACL: true})
	register(t, a, native("web", 1))
	token := func(rules string) string {
		t.Helper()
		p, _, err := a.Client().ACL().PolicyCreate(&api.ACLPolicy{Name: fmt.Sprintf("p%d", len(rules)), Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		tok, _, err := a.Client().ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: p.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tok.SecretID
	}
	denied := func(s *resolver.Snapshot) bool { return s.State == resolver.Unknown && errors.Is(s.Reason, ErrACL) }
	half := token(`service "web" { policy = "read" }`)
	for name, secret := range map[string]string{"no token": "", "service:read alone": half, "unknown token": "22222222-2222-3333-4444-555555555555"} {
		w := read(t, open(t, Config{Address: a.HTTPAddr(), Token: secret}), "web")
		s := w.until("is denied to "+name, denied)
		if secret != "" && strings.Contains(s.Reason.Error(), secret) {
			t.Errorf("the reason shows the token: %v", s.Reason)
		}
	}
	enough := open(t, Config{Address: a.HTTPAddr(), Token: token(`service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)})
	read(t, enough, "web").until("is known", identified)
	read(t, enough, "none").until("is known to be empty", known(0))

	// A token that loses its rights does not empty the list.
	w := read(t, open(t, Config{Address: a.HTTPAddr(), Token: half}), "web")
	w.until("is denied", denied)
	p, _, err := a.Client().ACL().PolicyReadByName(fmt.Sprintf("p%d", len(`service "web" { policy = "read" }`)), nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := p.Rules
	for _, tt := range []struct {
		rules string
		what  string
		ok    func(*resolver.Snapshot) bool
	}{
		{rules + ` node_prefix "" { policy = "read" }`, "is known with node:read", known(1)},
		{rules, "is stale without it", func(s *resolver.Snapshot) bool { return stale(1)(s) && errors.Is(s.Reason, ErrACL) }},
	} {
		p.Rules = tt.rules
		if _, _, err := a.Client().ACL().PolicyUpdate(p, nil); err != nil {
			t.Fatal(err)
		}
		register(t, a, native("web", len(tt.rules))) // wakes a blocked query
		w.until(tt.what, tt.ok)
	}
}

// TestRestartWithData: an outage with the state on disk, and a start during it.
func TestRestartWithData(t *testing.T) {
	t.Parallel()
	a := ctest.Start(t, consultest.Config{Persist: true})
	register(t, a, native("web", 1))
	c := open(t, at(a))
	w := read(t, c, "web")
	first := w.until("is known", identified).Endpoints[0]
	a.Kill()
	w.until("is stale", stale(1))
	unknown := read(t, c, "inventory")
	unknown.until("is unknown with a reason", func(s *resolver.Snapshot) bool { return s.State == resolver.Unknown && s.Reason != nil })
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := w.until("is known again", known(1)); s.Endpoints[0] != first {
		t.Error("an unchanged endpoint got a new pointer in the outage")
	}
	unknown.until("is known to be empty", known(0))
	for _, s := range w.seen()[1:] {
		if s.State != resolver.Unknown && len(s.Endpoints) != 1 {
			t.Errorf("delivered %s", show(s))
		}
	}
}

// TestServersLost: the agent lives and its servers are gone. It must not look
// like an empty service, for a running watch or for a new one.
func TestServersLost(t *testing.T) {
	t.Parallel()
	server := ctest.Start(t, consultest.Config{})
	agent := ctest.Start(t, consultest.Config{Join: server})
	register(t, agent, native("web", 1))
	c := open(t, at(agent))
	w := read(t, c, "web")
	w.until("is known", identified)
	server.Kill()
	w.until("is stale", stale(1))
	read(t, c, "inventory").until("is unknown with a reason", func(s *resolver.Snapshot) bool {
		return s.State == resolver.Unknown && s.Reason != nil
	})
	for _, s := range w.seen()[1:] {
		if s.State != resolver.Unknown && len(s.Endpoints) != 1 {
			t.Errorf("delivered %s", show(s))
		}
	}
}

// TestCloseFreesConnections: against a real agent, nothing is held after Close.
func TestCloseFreesConnections(t *testing.T) {
	t.Parallel()
	k := newLink(t, sharedAgent(t).HTTPAddr())
	c := open(t, Config{Address: k.addr()})
	for i := range 300 {
		read(t, c, fmt.Sprintf("closing-%d", i)).until("is known", known(0))
	}
	if k.highest() > defaultMaxConns || k.open() == 0 {
		t.Errorf("%d connections for 300 services, at most %d at a time", k.open(), k.highest())
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for k.open() > 0 && ctx.Err() == nil {
		sleep(ctx, 1e6)
	}
	if n := k.open(); n > 0 {
		t.Errorf("%d connections are open after Close", n)
	}
}

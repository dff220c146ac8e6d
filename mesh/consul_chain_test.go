package mesh_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver/consul"
)

// put writes config entries.
func put(t testing.TB, agent *consultest.Agent, entries ...api.ConfigEntry) {
	t.Helper()
	for _, e := range entries {
		if ok, _, err := agent.Client().ConfigEntries().Set(e, nil); err != nil || !ok {
			t.Fatalf("writing %s %s: %v", e.GetKind(), e.GetName(), err)
		}
	}
}

func httpDefaults(service string) *api.ServiceConfigEntry {
	return &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: service, Protocol: "http"}
}

// versions are the subsets v1 and v2 of a service.
func versions(service string) *api.ServiceResolverConfigEntry {
	return &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: service, DefaultSubset: "v1", Subsets: map[string]api.ServiceResolverSubset{
		"v1": {Filter: "Service.Meta.version == v1"}, "v2": {Filter: "Service.Meta.version == v2"},
	}}
}

func splitting(service string, v1, v2 float32) *api.ServiceSplitterConfigEntry {
	return &api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: service, Splits: []api.ServiceSplit{
		{Weight: v1, ServiceSubset: "v1"}, {Weight: v2, ServiceSubset: "v2"},
	}}
}

// startVersion runs an instance that is announced with a version, which is its name.
func startVersion(t testing.TB, version string, cfg mesh.Config) *instance {
	t.Helper()
	cfg.Metadata = map[string]string{"version": version}
	return start(t, version, cfg)
}

// only fails the test if anyone else than server answers what is called from now on.
func (l *load) only(when, server string) {
	l.t.Helper()
	for who, n := range l.since(5) {
		if who != server {
			l.t.Errorf("%s: %s answered %d calls, want all at %s", when, who, n, server)
		}
	}
}

func routeOf(m *mesh.Mesh, service string) mesh.RouteStatus {
	for _, r := range m.Routes() {
		if r.Service == service {
			return r
		}
	}
	return mesh.RouteStatus{}
}

// TestConsulChains has the tests of chains that share an agent.
func TestConsulChains(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws"})
	for name, test := range map[string]func(*testing.T, *consultest.Agent){
		"a change is atomic":      testChainChanges,
		"unsupported fields":      testChainUnsupported,
		"branches become another": testChainNewService,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, agent)
		})
	}
}

// testChainChanges: a changed entry holds for all calls that begin after the first
// one that followed it, and costs none.
func testChainChanges(t *testing.T, agent *consultest.Agent) {
	put(t, agent, httpDefaults("changing"), versions("changing"), splitting("changing", 100, 0))
	startVersion(t, "v1", at(agent, "changing"))
	startVersion(t, "v2", at(agent, "changing"))
	l := begin(t, calls(t, join(t, at(agent, "reader")), "changing"))
	l.only("at first", "v1")
	var took []time.Duration
	for i := range 10 {
		v1, v2, now := float32(0), float32(100), "v2"
		if i%2 == 1 {
			v1, v2, now = 100, 0, "v1"
		}
		put(t, agent, splitting("changing", v1, v2))
		written := time.Now()
		l.answers(now)
		took = append(took, time.Since(written))
		l.rounds(1) // who had begun before has ended
		l.only(fmt.Sprintf("after change %d", i), now)
	}
	l.unharmed("while the weights changed")
	p50, p99 := quantiles(took)
	t.Logf("written to the first call that followed: p50 %v p99 %v", p50, p99)
}

// testChainNewService: a change to services that nobody had called costs no call,
// though their endpoints have to be asked for.
func testChainNewService(t *testing.T, agent *consultest.Agent) {
	put(t, agent, httpDefaults("blue"), httpDefaults("green"))
	start(t, "blue", at(agent, "blue"))
	start(t, "green", at(agent, "green"))
	l := begin(t, calls(t, join(t, at(agent, "shopper")), "blue"))
	for range 3 {
		put(t, agent, &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "blue", Redirect: &api.ServiceResolverRedirect{Service: "green"}})
		l.answers("green")
		l.rounds(1)
		l.only("after the redirect", "green")
		if _, err := agent.Client().ConfigEntries().Delete(api.ServiceResolver, "blue", nil); err != nil {
			t.Fatal(err)
		}
		l.answers("blue")
		l.rounds(1)
		l.only("without an entry", "blue")
	}
	l.unharmed("while entries came and went")
}

// testChainUnsupported: what is asked for and not done is said once per change.
func testChainUnsupported(t *testing.T, agent *consultest.Agent) {
	start(t, "extended", at(agent, "extended"))
	seen := &everything{}
	cfg := at(agent, "auditor")
	cfg.Logger = slog.New(slog.NewTextHandler(seen, nil))
	m := join(t, cfg)
	asks := func(timeout int) *api.ServiceConfigEntry {
		e := httpDefaults("extended")
		e.EnvoyExtensions = []api.EnvoyExtension{{Name: "builtin/lua", Arguments: map[string]any{
			"ProxyType": "connect-proxy", "Listener": "outbound", "Script": "function envoy_on_request(h) end",
		}}}
		e.Meta = map[string]string{"weft-no-such-key": "x", "owner": fmt.Sprint(timeout)}
		return e
	}
	fields := []string{"EnvoyExtensions", "weft-no-such-key"}
	said := func(field string) int {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		n := 0
		for line := range strings.Lines(seen.buf.String()) {
			if strings.Contains(line, "config.unsupported") && strings.Contains(line, "service=extended") && strings.Contains(line, field) {
				n++
			}
		}
		return n
	}
	problems := func() string { return fmt.Sprint(routeOf(m, "extended").Problems) }
	l := begin(t, calls(t, m, "extended"))
	for round := 1; round <= 2; round++ {
		for i := range 3 { // other changes do not say it again
			before := routeOf(m, "extended").Chain
			put(t, agent, asks(10*round+i))
			until(t, "the change is in effect", func() bool { return routeOf(m, "extended").Chain != before })
			for _, f := range fields {
				if !strings.Contains(problems(), f) {
					t.Errorf("the status lacks %s: %s", f, problems())
				}
				if n := said(f); n != round {
					t.Errorf("round %d, change %d: %s was said %d times", round, i, f, n)
				}
			}
		}
		put(t, agent, httpDefaults("extended"))
		until(t, "nothing is unsupported", func() bool { return len(routeOf(m, "extended").Problems) == 0 })
	}
	l.rounds(2)
	l.unharmed("with what is not supported")
}

// TestConsulChainFailover: all instances of a datacenter turn critical, and calls go to
// the one that the entry names, though the caller prefers another one; they return with
// the instances.
func TestConsulChainFailover(t *testing.T) {
	t.Parallel()
	clouds := []string{"aws", "azure", "gcp"}
	agents := ctest.Federate(t, consultest.Config{}, clouds...)
	put(t, agents[0], &api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: "payments", ConnectTimeout: 5 * time.Second,
		Failover: map[string]api.ServiceResolverFailover{"*": {Datacenters: []string{"gcp"}}},
	})
	for i, a := range agents {
		start(t, clouds[i], at(a, "payments"))
	}
	cfg := at(agents[0], "checkout")
	for _, dc := range clouds[1:] {
		cfg.Clouds = append(cfg.Clouds, consul.Config{Name: dc, Address: agents[0].HTTPAddr(), Datacenter: dc})
	}
	cfg.Balancer = balancer.Config{FailbackAfter: -1, CloudOrder: clouds}
	m := join(t, cfg)
	l := begin(t, calls(t, m, "payments"))
	until(t, "the chain is known", func() bool { r := routeOf(m, "payments"); return r.Chain != nil && r.Err == nil })
	l.rounds(1)
	l.only("while all is well", "aws")
	maintain := func(on bool) {
		t.Helper()
		local := agents[0].Client().Agent()
		services, err := local.ServicesWithFilter(`Service == "payments"`)
		if err != nil || len(services) != 2 {
			t.Fatalf("%v, %v; want the gRPC and the HTTP instance", services, err)
		}
		for id := range services {
			if on {
				err = local.EnableServiceMaintenance(id, "drill")
			} else {
				err = local.DisableServiceMaintenance(id)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		maintain(true)
		l.answers("gcp")
		until(t, "nobody calls aws", func() bool { return l.since(2)["aws"] == 0 })
		l.only("while aws is critical", "gcp")
		maintain(false)
		l.answers("aws")
		until(t, "nobody calls gcp", func() bool { return l.since(2)["gcp"] == 0 })
		l.only("after aws recovered", "aws")
	}
	l.stop()
	l.unharmed("in failover and back")
	t.Logf("%d calls", l.total())
}

// TestConsulChainDown: without Consul the chain holds, and a member that starts then
// has it from disk; the next change after its return is followed by both.
func TestConsulChainDown(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Persist: true, Datacenter: "aws"})
	put(t, agent, httpDefaults("web"), versions("web"), splitting("web", 0, 100))
	startVersion(t, "v1", at(agent, "web"))
	startVersion(t, "v2", at(agent, "web"))
	cfg := at(agent, "checkout")
	cfg.SnapshotDir = t.TempDir()
	m := join(t, cfg)
	l := begin(t, calls(t, m, "web"))
	l.only("at first", "v2")
	until(t, "chain, list and identity are on disk", func() bool {
		for _, pattern := range []string{"chain-*web*", "*web.snap", "identity-*"} {
			if list, _ := filepath.Glob(filepath.Join(cfg.SnapshotDir, pattern)); len(list) == 0 {
				return false
			}
		}
		return true
	})
	agent.Kill()
	until(t, "the outage is noticed", func() bool { return routeOf(m, "web").Err != nil })
	l.only("without Consul", "v2")
	second := join(t, cfg)
	l2 := begin(t, calls(t, second, "web"))
	l2.only("of the member that joined without Consul", "v2")
	if r := routeOf(second, "web"); r.Chain == nil || r.Err == nil || r.AsOf.IsZero() || time.Since(r.AsOf) < 0 {
		t.Errorf("the second member's status is %+v", r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := agent.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, agent, splitting("web", 100, 0))
	for _, l := range []*load{l, l2} {
		l.answers("v1")
		l.rounds(1)
		l.only("after Consul's return and a change", "v1")
		l.unharmed("in all that")
	}
	if r := routeOf(second, "web"); r.Err != nil {
		t.Errorf("the second member's status is %+v", r)
	}
}

// TestConsulChainACL: a token that may not read the service says what to grant; calls
// go on, without a chain or with the last one.
func TestConsulChainACL(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws", ACL: true})
	put(t, agent, httpDefaults("web"), versions("web"), splitting("web", 0, 100), &api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: "web", Sources: []*api.SourceIntention{{Name: "checkout", Action: api.IntentionActionAllow}},
	})
	startVersion(t, "v1", at(agent, "web"))
	startVersion(t, "v2", at(agent, "web"))
	const may, not = `service_prefix "" { policy = "read" }`, `node_prefix "" { policy = "read" }`
	grant(t, agent, tokenBlind, not)
	source, err := consul.New(consul.Config{Name: "aws", Address: agent.HTTPAddr(), Token: tokenBlind, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	chains := source.Chains("")
	t.Cleanup(func() {
		_ = chains.Close(context.Background())
		_ = source.Close(context.Background())
	})
	seen := &everything{}
	cfg := at(agent, "checkout")
	cfg.Chains = chains
	cfg.Logger = slog.New(slog.NewTextHandler(seen, nil))
	m := join(t, cfg)
	l := begin(t, calls(t, m, "web"))
	l.answers("v1") // the service itself
	l.answers("v2")
	allow := func(rules string) {
		t.Helper()
		acl := agent.Client().ACL()
		p, _, err := acl.PolicyReadByName("policy-"+tokenBlind, nil)
		if err == nil {
			p.Rules = rules
			_, _, err = acl.PolicyUpdate(p, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func() bool {
		err := routeOf(m, "web").Err
		return err != nil && strings.Contains(err.Error(), `service:read on "web"`)
	}
	until(t, "the status says what to grant", refused)
	if !seen.has("config.rejected", "service:read on") {
		t.Error("nothing is logged")
	}
	allow(may)
	until(t, "the chain is known", func() bool { return routeOf(m, "web").Chain != nil })
	l.rounds(1)
	l.only("with the right", "v2")
	allow(not)
	until(t, "the loss is noticed", refused)
	l.only("without the right again", "v2")
	l.unharmed("with and without the right to read")
	if text := fmt.Sprint(routeOf(m, "web").Err); strings.Contains(text, tokenBlind) || seen.has(tokenBlind, "") {
		t.Error("the token is shown")
	}
}

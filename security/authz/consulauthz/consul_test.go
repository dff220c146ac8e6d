package consulauthz_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/authz/consulauthz"
)

const patience = time.Minute

// conf reaches an agent, with connections that are gone when the test ends.
func conf(t *testing.T, a *consultest.Agent) *api.Config {
	t.Helper()
	c := api.DefaultConfig()
	c.Address, c.Token = a.HTTPAddr(), a.Token()
	t.Cleanup(c.Transport.CloseIdleConnections)
	return c
}

// watching is a source that is watched until the test ends.
func watching(t *testing.T, cfg consulauthz.Config) (next func() authz.Rules) {
	t.Helper()
	src, err := consulauthz.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	got, done := make(chan authz.Rules, 100), make(chan struct{})
	go func() {
		defer close(done)
		_ = src.Watch(ctx, func(r authz.Rules) { got <- r }) // it ends by the context
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() authz.Rules {
		t.Helper()
		select {
		case r := <-got:
			return r
		case <-time.After(patience):
			t.Fatalf("no rules came: %+v", src.Status())
			return authz.Rules{}
		}
	}
}

func set(t *testing.T, a *consultest.Agent, e api.ConfigEntry) {
	t.Helper()
	if _, _, err := a.Client().ConfigEntries().Set(e, nil); err != nil {
		t.Fatal(err)
	}
}

func entry(dst string, sources ...*api.SourceIntention) *api.ServiceIntentionsConfigEntry {
	return &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: dst, Sources: sources}
}

func request(name, path string) *authz.Request {
	id := spiffeid.RequireFromString("spiffe://x.consul/ns/default/dc/dc1/svc/" + name)
	return &authz.Request{Caller: security.PeerID{ID: id}, Protocol: "http", Method: "GET", Path: path}
}

// The default policy is what Consul's proxies would apply, whatever the token may.
func TestDefaultPolicy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		cfg  consultest.Config
		want authz.Action
	}{
		{"no ACLs", consultest.Config{}, authz.Allow},
		{"no ACLs, intentions deny", consultest.Config{HCL: `default_intention_policy = "deny"`}, authz.Deny},
		{"ACLs deny", consultest.Config{ACL: true}, authz.Deny},
		{"ACLs deny, intentions allow", consultest.Config{ACL: true, HCL: `default_intention_policy = "allow"`}, authz.Allow},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			agent := ctest.Start(t, tc.cfg)
			cfg := consulauthz.Config{Service: "api", API: conf(t, agent)}
			var log strings.Builder
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if r := watching(t, cfg)(); r.Default != tc.want {
				t.Errorf("default %q, want %q; log: %s", r.Default, tc.want, log.String())
			}
			// An intention for everybody hides it from the first way to ask.
			set(t, agent, entry("*", &api.SourceIntention{Name: "*", Action: api.IntentionActionAllow}))
			if r := watching(t, cfg)(); r.Default != tc.want {
				t.Errorf("with an intention for everybody: default %q, want %q; log: %s", r.Default, tc.want, log.String())
			}
			if !tc.cfg.ACL {
				return
			}
			policy := &api.ACLPolicy{Name: "p", Rules: `service "api" { policy = "write" }`}
			if _, _, err := agent.Client().ACL().PolicyCreate(policy, nil); err != nil {
				t.Fatal(err)
			}
			token, _, err := agent.Client().ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "p"}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			cfg.API = conf(t, agent)
			cfg.API.Token = token.SecretID
			if r := watching(t, cfg)(); r.Default != authz.Deny { // it cannot know, so it denies
				t.Errorf("a service's token, with an intention for everybody: default %q", r.Default)
			}
			if _, err := agent.Client().ConfigEntries().Delete(api.ServiceIntentions, "*", nil); err != nil {
				t.Fatal(err)
			}
			if r := watching(t, cfg)(); r.Default != tc.want {
				t.Errorf("a service's token: default %q, want %q; log: %s", r.Default, tc.want, log.String())
			}
		})
	}
}

// Random intentions are decided as Consul decides them, and stand in Consul's order.
func TestAgreesWithConsul(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{})
	names := []string{"web", "web2", "batch", "a.b", "x_y", "*"}
	dsts := []string{"api", "db", "*"}
	rng := rand.New(rand.NewPCG(1, 2))
	set(t, agent, &api.ProxyConfigEntry{Kind: api.ProxyDefaults, Name: "global", Config: map[string]any{"protocol": "http"}})
	checked := 0
	for round := range 25 {
		for _, dst := range dsts {
			e := entry(dst)
			for _, i := range rng.Perm(len(names))[:1+rng.IntN(len(names))] {
				s := &api.SourceIntention{Name: names[i], Action: []api.IntentionAction{"allow", "deny"}[rng.IntN(2)]}
				if dst != "*" && rng.IntN(4) == 0 { // L7, which the check takes for deny
					s.Action = ""
					s.Permissions = []*api.IntentionPermission{{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/only"}}}
				}
				e.Sources = append(e.Sources, s)
			}
			if rng.IntN(3) == 0 {
				if _, err := agent.Client().ConfigEntries().Delete(api.ServiceIntentions, dst, nil); err != nil {
					t.Fatal(err)
				}
				continue
			}
			set(t, agent, e)
		}
		for _, dst := range []string{"api", "db", "other"} {
			raw := ask(t, agent, "/v1/connect/intentions/match?by=destination&name="+dst)
			list, err := authz.DecodeMatch(raw, dst)
			if err != nil {
				t.Fatal(err)
			}
			p := authz.Compile(authz.Rules{Intentions: list, Default: authz.Allow}, authz.Scope{Service: dst, TrustDomain: "x.consul"})
			if len(p.Problems()) > 0 {
				t.Fatal(p.Problems())
			}
			order(t, raw, dst, p)
			for _, src := range []string{"web", "web2", "batch", "a.b", "aXb", "x_y", "nobody"} {
				var said struct{ Allowed bool }
				if err := json.Unmarshal(ask(t, agent, fmt.Sprintf("/v1/connect/intentions/check?source=%s&destination=%s", src, dst)), &said); err != nil {
					t.Fatal(err)
				}
				// A path that no permission names is what the default decides, so
				// that an L7 intention here must be told from an L4 one.
				d := p.Decide(request(src, "/nowhere"))
				l7 := p.Decide(request(src, "/only")).Rule != d.Rule
				if got := d.Allowed && !l7; got != said.Allowed {
					t.Errorf("round %d, %s => %s: %v by %q, Consul says %v; %s", round, src, dst, got, d.Rule, said.Allowed, raw)
				}
				checked++
			}
		}
	}
	if checked < 500 {
		t.Errorf("only %d decisions were compared", checked)
	}
}

// order compares our order of rules with Consul's.
func order(t *testing.T, raw []byte, dst string, p *authz.Policy) {
	t.Helper()
	var answer map[string][]struct {
		SourceNS, SourceName, DestinationNS, DestinationName string
		Precedence                                           int
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	var want []string
	seen := map[string]bool{}
	for _, in := range answer[dst] {
		if !seen[in.SourceName] { // a less specific destination for the same source decides nothing
			want = append(want, fmt.Sprintf("%s/%s => %s/%s", in.SourceNS, in.SourceName, in.DestinationNS, in.DestinationName))
		}
		seen[in.SourceName] = true
	}
	if got := p.Rules(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("order:\n%s\nConsul's:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// ask asks an agent without any decoding.
func ask(t *testing.T, a *consultest.Agent, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.HTTPAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, resp.Status, body, err)
	}
	return body
}

package authz

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const localRules = `
kind: default-policy
action: deny
---
kind: service-intentions
name: api
sources:
  - name: order
    permissions:
      - action: allow
        http: {path_exact: /payment.Payment/Charge, methods: [POST]}
        condition: caller.datacenter == "eu" && service.tags.exists(t, t == "pii")
  - name: web
    action: allow
  - id: spiffe://mesh.example/workload/batch
    action: allow
meta: {Some_Key: x}
---
{"Kind": "jwt-provider", "Name": "okta", "Issuer": "https://okta.example", "JSONWebKeySet": {"Remote": {"URI": "http://127.0.0.1:1/keys", "CacheDuration": "5m"}}}
`

func TestParseRules(t *testing.T) {
	t.Parallel()
	rules, err := ParseRules([]byte(localRules))
	if err != nil {
		t.Fatal(err)
	}
	if rules.Default != Deny || len(rules.Intentions) != 3 || len(rules.Providers) != 1 || rules.Providers[0].Unreadable != "" {
		t.Fatalf("%+v", rules)
	}
	s := scope()
	s.Tags = []string{"pii"}
	p := Compile(rules, s)
	if len(p.Problems()) > 0 {
		t.Fatal(p.Problems())
	}
	for _, tc := range []struct {
		caller, path string
		want         bool
	}{
		{"spiffe://mesh.example/ns/default/dc/eu/svc/order", "/payment.Payment/Charge", true},
		{"spiffe://mesh.example/ns/default/dc/us/svc/order", "/payment.Payment/Charge", false},
		{"spiffe://mesh.example/ns/default/dc/eu/svc/order", "/payment.Payment/Refund", false},
		{"spiffe://mesh.example/ns/default/dc/eu/svc/web", "/x", true},
		{"spiffe://mesh.example/workload/batch", "/x", true},
		{"spiffe://mesh.example/workload/other", "/x", false},
	} {
		r := get(peerID(t, tc.caller), tc.path)
		r.Method = "POST"
		if d := p.Decide(r); d.Allowed != tc.want {
			t.Errorf("%s %s: %v by %q (%s)", tc.caller, tc.path, d.Allowed, d.Rule, d.reason)
		}
	}
}

func TestParseRulesRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no YAML":        "a: [",
		"no entry":       "just text",
		"unknown kind":   "kind: service-router\nname: x",
		"no kind":        "name: x",
		"no name":        "kind: service-intentions\nsources: []",
		"key twice":      "kind: service-intentions\nname: x\nname: y",
		"spelled twice":  "kind: service-intentions\nname: x\nNa_me: y",
		"an alias":       "kind: service-intentions\nname: &a x\nsources: [{name: *a, action: allow}]",
		"default":        "kind: default-policy\naction: maybe",
		"default's rest": "kind: default-policy\naction: allow\nfor: all",
		"deep":           "kind: x\na: " + strings.Repeat("[", 50) + strings.Repeat("]", 50),
	} {
		if r, err := ParseRules([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, r)
		}
	}
}

func TestFileThatChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(s string) {
		if err := os.WriteFile(path+".new", []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("kind: default-policy\naction: allow")
	var log logged
	f, err := OpenFile(FileConfig{Path: path, Every: 1e6, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, Config{Scope: scope(), Sources: []Source{f}})
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := get(svc(t, "web"), "/")
	until := func(want bool) {
		t.Helper()
		for {
			changed := a.Changed()
			if a.Decide(r).Allowed == want {
				return
			}
			<-changed
		}
	}
	until(true)
	write("kind: default-policy\naction: deny")
	until(false)
	write("nonsense")
	for !strings.Contains(log.String(), "authz.file_refused") {
		if a.Decide(r).Allowed {
			t.Fatal("a file that cannot be read allows")
		}
	}
	write("kind: default-policy\naction: allow")
	until(true)
	if _, err := OpenFile(FileConfig{Path: path + ".none"}); err == nil {
		t.Error("a file that is not there was opened")
	}
}

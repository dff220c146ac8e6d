package authz

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// matchAnswer is an answer of Consul with one intention whose fields can be changed.
func matchAnswer(t testing.TB, change func(map[string]any)) []byte {
	t.Helper()
	in := map[string]any{
		"SourceNS": "default", "SourceName": "web", "DestinationNS": "default", "DestinationName": "api", "SourceType": "consul",
		"Permissions": []any{map[string]any{"Action": "allow", "HTTP": map[string]any{"PathPrefix": "/v1", "Methods": []string{"GET"},
			"Header": []any{map[string]any{"Name": "x-tenant", "Present": true}}}}},
		"Precedence": 9, "CreateIndex": 43, "ModifyIndex": 43, "Meta": map[string]string{"a": "b"},
	}
	change(in)
	data, err := json.Marshal(map[string]any{"api": []any{in, map[string]any{
		"SourceNS": "default", "SourceName": "*", "DestinationNS": "default", "DestinationName": "api", "SourceType": "consul", "Action": "allow", "Precedence": 8}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What is not known in an intention makes it deny its source, and nobody else.
func TestUnknownFieldDenies(t *testing.T) {
	t.Parallel()
	perm := func(c map[string]any) map[string]any { return c["Permissions"].([]any)[0].(map[string]any) }
	http := func(c map[string]any) map[string]any { return perm(c)["HTTP"].(map[string]any) }
	for name, change := range map[string]func(map[string]any){
		"in the intention":  func(c map[string]any) { c["NotBefore"] = "x" },
		"in the permission": func(c map[string]any) { perm(c)["GRPC"] = map[string]any{} },
		"in HTTP":           func(c map[string]any) { http(c)["QueryParam"] = []any{} },
		"in a header": func(c map[string]any) {
			http(c)["Header"] = []any{map[string]any{"Name": "x", "Present": true, "Not": true}}
		},
		"in JWT":               func(c map[string]any) { c["JWT"] = map[string]any{"AnyOf": 1} },
		"our own condition":    func(c map[string]any) { perm(c)["Condition"] = "true" },
		"our own source":       func(c map[string]any) { c["SourceID"] = "spiffe://x/y" },
		"our own verdict":      func(c map[string]any) { c["Unreadable"] = "" },
		"wrong type":           func(c map[string]any) { c["Action"] = 7; delete(c, "Permissions") },
		"permission is null":   func(c map[string]any) { c["Permissions"] = []any{nil} },
		"action in upper case": func(c map[string]any) { delete(c, "Permissions"); c["Action"] = "ALLOW" },
	} {
		list, err := DecodeMatch(matchAnswer(t, change), "api")
		if err != nil || len(list) != 2 {
			t.Fatalf("%s: %v, %v", name, list, err)
		}
		p := Compile(Rules{Intentions: list, Default: Allow}, scope())
		r := get(svc(t, "web"), "/v1/x", "X-Tenant", "a")
		if d := p.Decide(r); d.Allowed {
			t.Errorf("%s: allowed by %q", name, d.Rule)
		}
		if d := p.Decide(get(svc(t, "other"), "/")); !d.Allowed {
			t.Errorf("%s: another caller is denied by %q (%s)", name, d.Rule, d.reason)
		}
	}
	for name, text := range map[string]string{
		"key twice":         `{"SourceName":"web","DestinationName":"api","Action":"deny","Action":"allow"}`,
		"key in two cases":  `{"SourceName":"web","DestinationName":"api","Action":"deny","action":"allow"}`,
		"null":              `null`,
		"a string":          `"x"`,
		"source is a list":  `{"SourceName":["web"],"DestinationName":"api","Action":"allow"}`,
		"source is missing": `{"DestinationName":"api","Action":"deny"}`,
	} {
		list, err := DecodeMatch([]byte(`{"api":[`+text+`,{"SourceName":"*","DestinationName":"api","Action":"allow"}]}`), "api")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := Compile(Rules{Intentions: list, Default: Allow}, scope()).Decide(get(svc(t, "web"), "/")); d.Allowed {
			t.Errorf("%s: allowed by %q", name, d.Rule)
		}
	}
}

func TestDecodeMatchRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `null`, `[]`, `{}`, `{"db":[]}`, `{"api":[],"db":[]}`, `{"api":{}}`, `{"api":[}`, strings.Repeat(" ", maxRules+1)} {
		if list, err := DecodeMatch([]byte(text), "api"); err == nil {
			t.Errorf("%.40q: %v", text, list)
		}
	}
	for _, text := range []string{`{"api":null}`, `{"api":[]}`} {
		if list, err := DecodeMatch([]byte(text), "api"); err != nil || len(list) != 0 {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
}

// The answers of a real Consul.
func TestConsulsSamples(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	okta := newIssuer(t, "okta")
	match, err := DecodeMatch(read("match.json"), "api")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := DecodeEntry(read("entry.json"))
	if err != nil {
		t.Fatal(err)
	}
	prov := okta.provider(t)
	admin := okta.token(t, set("perms", map[string]any{"role": "admin"}))
	for name, list := range map[string][]Intention{"match": match, "config entry": entry} {
		p := Compile(Rules{Intentions: list, Providers: []Provider{prov}, Default: Deny}, scope())
		if len(p.Problems()) > 0 {
			t.Errorf("%s: %v", name, p.Problems())
		}
		for _, tc := range []struct {
			caller, path, token string
			want                bool
		}{
			{"spiffe://mesh.example/ns/default/dc/eu/svc/web", "/v1/x", admin, true},
			{"spiffe://mesh.example/ns/default/dc/eu/svc/web", "/v1/x", okta.token(t), false},
			{"spiffe://mesh.example/ns/default/dc/eu/svc/web", "/admin", admin, false},
			{"spiffe://mesh.example/ns/default/dc/eu/svc/batch", "/", admin, true},
			{"spiffe://mesh.example/ns/default/dc/eu/svc/batch", "/", "", false}, // consul/api drops the JWT of an intention
			{"spiffe://partner.example/ns/default/dc/eu/svc/shop", "/", admin, true},
			{"spiffe://mesh.example/ns/default/dc/eu/svc/shop", "/", admin, false},
		} {
			r := get(peerID(t, tc.caller), tc.path, "X-Tenant", "a", "X-Env", "dev", "Authorization", "Bearer "+tc.token)
			if d := p.Decide(r); d.Allowed != tc.want {
				t.Errorf("%s: %s %s: %v by %q (%s)", name, tc.caller, tc.path, d.Allowed, d.Rule, d.reason)
			}
		}
	}
}

func TestDecodeEntry(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text       string
		web, other bool
	}{
		"good":               {`{"Kind":"service-intentions","Name":"api","Sources":[{"Name":"web","Action":"allow","Precedence":9,"Type":"consul"}]}`, true, false},
		"in a source":        {`{"Kind":"service-intentions","Name":"api","Sources":[{"Name":"web","Action":"allow","Only":1},{"Name":"*","Action":"allow"}]}`, false, true},
		"beside the sources": {`{"Kind":"service-intentions","Name":"api","Until":1,"Sources":[{"Name":"web","Action":"allow"},{"Name":"*","Action":"allow"}]}`, false, false},
		"without sources":    {`{"Kind":"service-intentions","Name":"api","Until":1}`, false, false},
	} {
		list, err := DecodeEntry([]byte(tc.text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		def := Deny
		if name == "without sources" {
			def = Allow
		}
		p := Compile(Rules{Intentions: list, Default: def}, scope())
		if got := p.Decide(get(svc(t, "web"), "/")).Allowed; got != tc.web {
			t.Errorf("%s: web %v", name, got)
		}
		if got := p.Decide(get(svc(t, "x"), "/")).Allowed; got != tc.other {
			t.Errorf("%s: other %v", name, got)
		}
	}
	for _, text := range []string{`{}`, `[]`, `x`, `{"Kind":"service-router","Name":"api"}`, `{"Kind":"service-intentions"}`} {
		if list, err := DecodeEntry([]byte(text)); err == nil {
			t.Errorf("%s: %v", text, list)
		}
	}
}

// FuzzIntentions: an answer is refused as a whole, or every part of it that does not
// come back the same way denies. With nothing but garbage nobody is allowed.
func FuzzIntentions(f *testing.F) {
	f.Add(matchAnswer(f, func(map[string]any) {}))
	for _, name := range []string{"match.json", "entry.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"api":[{"SourceName":"web","DestinationName":"api","Action":"allow","Extra":1}]}`))
	f.Add([]byte("kind: service-intentions\nname: api\nsources: [{name: web, action: allow}]"))
	caller := svc(f, "web")
	f.Fuzz(func(t *testing.T, data []byte) {
		r := get(caller, "/v1/x")
		check := func(list []Intention) {
			p := Compile(Rules{Intentions: list, Default: Deny}, scope())
			d := p.Decide(r)
			if !d.Allowed {
				return
			}
			for _, in := range list {
				if in.Unreadable == "" && (in.SourceName == "web" || in.SourceName == "*") {
					return
				}
			}
			t.Fatalf("allowed by %q, but no intention says so: %+v", d.Rule, list)
		}
		if list, err := DecodeMatch(data, "api"); err == nil {
			check(list)
		}
		if list, err := DecodeEntry(data); err == nil {
			check(list)
		}
		if rules, err := ParseRules(data); err == nil {
			check(rules.Intentions)
		}
		_, _ = DecodeProvider(data) // must not panic
	})
}

package authz

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func conditional(cond string) Rules {
	return Rules{Intentions: []Intention{l7("order", Permission{Action: Allow, HTTP: &HTTPPermission{PathPrefix: "/"}, Condition: cond}), l4("*", Deny)}}
}

func richScope() Scope {
	s := scope()
	s.Tags, s.Metadata = []string{"pii", "gold"}, map[string]string{"data-class": "restricted"}
	s.Localities = map[string]Locality{"eu": {Cloud: "aws", Region: "eu-west-1", Zone: "a"}}
	return s
}

func TestConditions(t *testing.T) {
	t.Parallel()
	r := get(svc(t, "order"), "/v1/charge", "X-Role", "user", "X-Role", "agent")
	r.Method, r.Authority = "POST", "API.example:443"
	r.Time = time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC) // a Wednesday
	g := &Request{Caller: svc(t, "order"), Protocol: "grpc", Method: "POST", Path: "/payment.Payment/Charge", Headers: metadataHeaders{"x-role": {"agent"}}}
	for cond, want := range map[string]bool{
		`true`:  true,
		`false`: false,
		`caller.id == "spiffe://mesh.example/ns/default/dc/eu/svc/order"`:                                                   true,
		`caller.trust_domain == "mesh.example" && caller.namespace == "default"`:                                            true,
		`caller.service == "order" && caller.datacenter == "eu"`:                                                            true,
		`caller.cloud == "aws" && caller.region.startsWith("eu-") && caller.zone == "a"`:                                    true,
		`caller.partition == "default"`:                                                                                     true,
		`request.method == "POST" && request.path == "/v1/charge" && request.protocol == "http"`:                            true,
		`request.authority == "api.example:443"`:                                                                            true,
		`request.headers["x-role"].all(v, v == "agent")`:                                                                    false,
		`request.headers["x-role"].exists(v, v == "agent")`:                                                                 true,
		`"x-none" in request.headers`:                                                                                       false,
		`request.headers["x-none"][0] == "x"`:                                                                               false, // cannot be told
		`"x-role" in request.headers && !("X-Role" in request.headers)`:                                                     true,
		`request.headers["X-Role"][0] == "user"`:                                                                            false, // lower-case names
		`has(request.headers.accept)`:                                                                                       false,
		`request.headers.exists(k, k == "x-role" && request.headers[k].size() == 2)`:                                        true,
		`request.headers.size() == 1 && request.headers == {"x-role": ["user", "agent"]}`:                                   true,
		`request.headers == request.headers && type(request.headers) == map`:                                                true,
		`service.name == "api" && "pii" in service.tags`:                                                                    true,
		`service.metadata["data-class"] != "restricted"`:                                                                    false,
		`now.getHours("Europe/Berlin") >= 9 && now.getHours("Europe/Berlin") < 17 && now.getDayOfWeek("Europe/Berlin") < 6`: true,
		`now < timestamp("2020-01-01T00:00:00Z")`:                                                                           false,
		`claims.role == "agent"`:                                                                                            false, // no token was asked for
		`grpc.service == ""`:                                                                                                true,
		`request.path.matches("^/v[0-9]+/.*$")`:                                                                             true,
	} {
		p := Compile(conditional(cond), richScope())
		if len(p.Problems()) > 0 {
			t.Errorf("%s: %v", cond, p.Problems())
			continue
		}
		if d := p.Decide(r); d.Allowed != want {
			t.Errorf("%s: %v (%s)", cond, d.Allowed, d.reason)
		}
	}
	p := Compile(conditional(`grpc.service == "payment.Payment" && grpc.method == "Charge" && request.headers["x-role"] == ["agent"]`), richScope())
	if d := p.Decide(g); !d.Allowed {
		t.Errorf("gRPC: %s", d.reason)
	}
}

// Only order may charge, only with the role agent, only from the EU.
func TestConditionOverClaims(t *testing.T) {
	t.Parallel()
	okta := newIssuer(t, "okta")
	perm := Permission{Action: Allow, HTTP: &HTTPPermission{PathExact: "/payment.Payment/Charge"}, JWT: requires("okta"),
		Condition: `claims.role == "agent" && caller.region.startsWith("eu") && "write" in claims.perms.scopes`}
	p := Compile(Rules{Intentions: []Intention{l7("order", perm)}, Providers: []Provider{okta.provider(t)}, Default: Deny}, richScope())
	for name, tc := range map[string]struct {
		caller, token string
		want          bool
	}{
		"all":           {"eu/svc/order", okta.token(t), true},
		"role":          {"eu/svc/order", okta.token(t, set("role", "user")), false},
		"role twice":    {"eu/svc/order", okta.token(t, set("role", []string{"agent"})), false},
		"no role":       {"eu/svc/order", okta.token(t, drop("role")), false},
		"from the US":   {"us/svc/order", okta.token(t), false},
		"another":       {"eu/svc/web", okta.token(t), false},
		"without token": {"eu/svc/order", "", false},
	} {
		r := get(peerID(t, "spiffe://"+domain+"/ns/default/dc/"+tc.caller), "/payment.Payment/Charge", "Authorization", "Bearer "+tc.token)
		if d := p.Decide(r); d.Allowed != tc.want {
			t.Errorf("%s: %v (%s)", name, d.Allowed, d.reason)
		}
	}
}

// A deny permission whose condition cannot be told denies as well.
func TestConditionThatFailsDenies(t *testing.T) {
	t.Parallel()
	for _, action := range []Action{Allow, Deny} {
		many := get(svc(t, "web"), "/")
		for range maxHeaderValues + 1 {
			http.Header(many.Headers.(httpHeaders)).Add("X-Many", "a")
		}
		for _, cond := range []string{`"a" in request.headers["x-many"]`, `!("b" in request.headers["x-many"])`, `!("x-many" in request.headers)`} {
			p := Compile(Rules{Default: Allow, Intentions: []Intention{l7("web", Permission{Action: action, Condition: cond})}}, scope())
			if d := p.Decide(many); d.Allowed || len(p.Problems()) > 0 {
				t.Errorf("%s, %s, too many values: %v, %v", action, cond, d.Allowed, p.Problems())
			}
		}
		for name, cond := range map[string]string{
			"missing key": `request.headers["x-none"][0] == "a"`,
			"too costly":  `request.headers["x-long"].exists(a, request.headers["x-long"].exists(b, request.headers["x-long"].exists(c, a + b == c)))`,
		} {
			p := Compile(Rules{Default: Allow, Intentions: []Intention{l7("web", Permission{Action: action, Condition: cond})}}, scope())
			if len(p.Problems()) > 0 {
				t.Fatal(p.Problems())
			}
			var kv []string
			for range 200 {
				kv = append(kv, "X-Long", strings.Repeat("y", 100))
			}
			began := time.Now()
			if d := p.Decide(get(svc(t, "web"), "/", kv...)); d.Allowed {
				t.Errorf("%s, %s: allowed", action, name)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s took %v", name, took)
			}
		}
	}
}

func BenchmarkCondition(b *testing.B) {
	for name, cond := range map[string]string{
		"caller, method, tags": `caller.region.startsWith("eu") && request.method == "GET" && "pii" in service.tags`,
		"header":               `request.headers["x-role"] == ["agent"]`,
		"hours":                `now.getHours("Europe/Berlin") >= 0 && now.getHours("UTC") < 24`,
		"exists":               `request.headers["x-role"].exists(v, v == "agent")`,
		"all":                  `caller.service == "order" && "agent" in request.headers["x-role"] && now.getHours("UTC") >= 0 && caller.region.startsWith("eu")`,
	} {
		b.Run(name, func(b *testing.B) {
			p := Compile(conditional(cond), richScope())
			r := get(svc(b, "order"), "/v1/charge", "X-Role", "agent", "User-Agent", "go", "Accept", "*/*")
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Decide(r); !d.Allowed {
					b.Fatal(d.reason)
				}
			}
		})
	}
	b.Run("claims", func(b *testing.B) {
		p := Compile(conditional(`claims.role == "agent" && caller.region.startsWith("eu")`), richScope())
		c := p.rules[0].perms[0].cond
		r, claims := get(svc(b, "order"), "/v1/charge"), map[string]any{"role": "agent", "sub": "x", "aud": []any{"api"}}
		b.ReportAllocs()
		for b.Loop() {
			if ok, err := c.eval(p, r, claims); !ok {
				b.Fatal(err)
			}
		}
	})
}

// FuzzCondition: a source from outside compiles or is refused, and its evaluation ends.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{`true`, `caller.service == "x"`, `[1,2,3].map(x, x*2).exists(y, y == 4)`, `"a".matches("(a+)+$")`, `claims.a.b[0]`, `now + duration("1h") > now`, `((((`} {
		f.Add(s)
	}
	caller := svc(f, "order")
	f.Fuzz(func(t *testing.T, s string) {
		p := Compile(conditional(s), richScope())
		d := p.Decide(get(caller, "/x", "X-A", "b"))
		if d.Allowed && len(p.Problems()) > 0 {
			t.Fatalf("%q is refused and allows", s)
		}
	})
}

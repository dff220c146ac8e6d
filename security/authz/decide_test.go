package authz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/security"
)

// The truth table of intentions: an intention {none, L4, L7} × {allow, deny} for the
// caller, over the same for everybody, over both defaults.
func TestTruthTable(t *testing.T) {
	t.Parallel()
	exact := map[string]*Intention{"none": nil}
	wild := map[string]*Intention{"none": nil}
	for _, act := range []Action{Allow, Deny} {
		a, b := l4("web", act), l4("*", act)
		exact["L4 "+string(act)], wild["L4 "+string(act)] = &a, &b
		c, d := l7("web", prefix(act, "/v1")), l7("*", prefix(act, "/v1"))
		exact["L7 "+string(act)], wild["L7 "+string(act)] = &c, &d
	}
	// verdict is what an intention says of a request; "" is nothing.
	verdict := func(name, path string, def Action) Action {
		if name == "none" {
			return ""
		}
		act := Action(name[3:])
		if strings.HasPrefix(name, "L4") || strings.HasPrefix(path, "/v1") {
			return act
		}
		return def // not the next intention
	}
	for _, def := range []Action{Allow, Deny} {
		for en, e := range exact {
			for wn, w := range wild {
				for _, path := range []string{"/v1/x", "/other"} {
					var list []Intention
					for _, in := range []*Intention{w, e} {
						if in != nil {
							list = append(list, *in)
						}
					}
					p := Compile(Rules{Intentions: list, Default: def}, scope())
					want := verdict(en, path, def)
					if want == "" {
						want = verdict(wn, path, def)
					}
					if want == "" {
						want = def
					}
					if d := p.Decide(get(svc(t, "web"), path)); d.Allowed != (want == Allow) {
						t.Errorf("web: %s, *: %s, default %s, %s: allowed = %v by %q, want %s", en, wn, def, path, d.Allowed, d.Rule, want)
					}
				}
			}
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	in := func(src, dst string, a Action) Intention {
		return Intention{SourceName: src, DestinationName: dst, Action: a}
	}
	for _, tc := range []struct {
		name  string
		rules []Intention
		want  string
	}{
		{"exact over wildcard source", []Intention{in("*", "api", Deny), in("web", "api", Allow)}, "default/web => default/api"},
		{"wildcard source over wildcard destination", []Intention{in("web", "*", Allow), in("*", "api", Deny)}, "default/* => default/api"},
		{"exact source over all", []Intention{in("*", "*", Deny), in("web", "*", Allow)}, "default/web => default/*"},
		{"all", []Intention{in("other", "api", Allow), in("*", "*", Deny)}, "default/* => default/*"},
		{"another destination", []Intention{in("web", "db", Allow), in("*", "*", Deny)}, "default/* => default/*"},
		{"every namespace", []Intention{{SourceNS: "*", SourceName: "*", DestinationName: "api", Action: Deny}, in("*", "*", Allow)}, "*/* => default/api"},
	} {
		for range 10 {
			rand.Shuffle(len(tc.rules), func(i, j int) { tc.rules[i], tc.rules[j] = tc.rules[j], tc.rules[i] })
			p := Compile(Rules{Intentions: tc.rules, Default: Deny}, scope())
			if d := p.Decide(get(svc(t, "web"), "/")); d.Rule != tc.want {
				t.Errorf("%s: decided by %q, want %q", tc.name, d.Rule, tc.want)
			}
		}
	}
}

func TestCallers(t *testing.T) {
	t.Parallel()
	rules := Rules{Default: Allow, Intentions: []Intention{
		l4("web", Allow),
		{SourceName: "shop", SourcePeer: "partner", DestinationName: "api", Action: Allow},
		{SourceID: "spiffe://" + domain + "/workload/batch", DestinationName: "api", Action: Allow},
		l4("*", Deny),
		{SourceName: "x", SourcePeer: "unknown", DestinationName: "api", Action: Allow},
	}}
	p := Compile(rules, scope())
	if n := len(p.Problems()); n != 1 || !strings.Contains(p.Problems()[0].Error(), `peer "unknown"`) {
		t.Errorf("problems %v, want the unknown peer alone", p.Problems())
	}
	for id, want := range map[string]bool{
		"spiffe://mesh.example/ns/default/dc/eu/svc/web":       true,
		"spiffe://mesh.example/ns/default/dc/us/svc/web":       true, // the datacenter is no matter
		"spiffe://mesh.example/ns/default/dc/eu/svc/web2":      false,
		"spiffe://mesh.example/ns/other/dc/eu/svc/web":         true, // no rule names the namespace
		"spiffe://mesh.example/ap/p1/ns/default/dc/eu/svc/web": true, // nor the partition
		"spiffe://other.example/ns/default/dc/eu/svc/web":      false,
		"spiffe://partner.example/ns/default/dc/x/svc/shop":    true,
		"spiffe://partner.example/ns/default/dc/x/svc/web":     false,
		"spiffe://mesh.example/ns/default/dc/eu/svc/shop":      false, // of the peer only
		"spiffe://mesh.example/workload/batch":                 true,
		"spiffe://mesh.example/workload/other":                 false, // "*" denies it too
		"spiffe://mesh.example/gateway/mesh/dc/eu":             false,
		"spiffe://mesh.example/ns/default/dc/eu/svc/web/x":     false,
	} {
		if d := p.Decide(get(peerID(t, id), "/")); d.Allowed != want {
			t.Errorf("%s: allowed = %v by %q, want %v", id, d.Allowed, d.Rule, want)
		}
	}
	if d := p.Decide(&Request{Method: "GET", Path: "/"}); d.Allowed {
		t.Error("nobody is allowed")
	}
}

// No regular expression is built of names, and none of their characters has a meaning.
func TestNamesAreLiteral(t *testing.T) {
	t.Parallel()
	p := Compile(Rules{Intentions: []Intention{l4("a.b", Allow), l4("c${x}", Allow), l4("d*", Allow), l4("(e)", Allow)}, Default: Deny}, scope())
	for name, want := range map[string]bool{"a.b": false, "aXb": false, "dx": false, "e": false} {
		if d := p.Decide(get(svc(t, name), "/")); d.Allowed != want { // "d*" cannot be read, so it denies everybody
			t.Errorf("%s: allowed = %v by %q", name, d.Allowed, d.Rule)
		}
	}
	p = Compile(Rules{Intentions: []Intention{l4("a.b", Allow), l4("c${x}", Allow), l4("(e)", Allow)}, Default: Deny}, scope())
	for name, want := range map[string]bool{"a.b": true, "aXb": false, "e": false} {
		if d := p.Decide(get(svc(t, name), "/")); d.Allowed != want {
			t.Errorf("%s: allowed = %v by %q", name, d.Allowed, d.Rule)
		}
	}
}

// What cannot be honoured denies whom it may be about, and nobody else.
func TestUnreadableDenies(t *testing.T) {
	t.Parallel()
	allow := l4("*", Allow)
	for name, bad := range map[string]Intention{
		"an action":            {SourceName: "web", DestinationName: "api", Action: "permit"},
		"no action":            {SourceName: "web", DestinationName: "api"},
		"both":                 {SourceName: "web", DestinationName: "api", Action: Allow, Permissions: []Permission{prefix(Allow, "/")}},
		"said so":              {SourceName: "web", DestinationName: "api", Action: Allow, Unreadable: "x"},
		"permission's action":  l7("web", Permission{Action: "log", HTTP: &HTTPPermission{PathPrefix: "/"}}),
		"empty permission":     l7("web", Permission{Action: Allow}),
		"empty HTTP":           l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{}}),
		"two paths":            l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{PathPrefix: "/", PathExact: "/x"}}),
		"relative path":        l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{PathPrefix: "x"}}),
		"broken regex":         l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{PathRegex: "("}}),
		"regex closes a group": l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{PathRegex: "x)|(?:.*"}}),
		"escaped regex":        l7("web", Permission{Action: Deny, HTTP: &HTTPPermission{PathRegex: "/%61.*"}}),
		"half an escape":       l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{PathPrefix: "/a%2"}}),
		"header without test":  l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{Header: []HeaderPermission{{Name: "x"}}}}),
		"header's name":        l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{Header: []HeaderPermission{{Name: ":path", Present: true}}}}),
		"unseen header":        l7("web", Permission{Action: Deny, HTTP: &HTTPPermission{Header: []HeaderPermission{{Name: "transfer-encoding", Present: true}}}}),
		"two header tests":     l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{Header: []HeaderPermission{{Name: "x", Exact: "a", Prefix: "b"}}}}),
		"method":               l7("web", Permission{Action: Allow, HTTP: &HTTPPermission{Methods: []string{"G ET"}}}),
		"unknown provider":     {SourceName: "web", DestinationName: "api", Action: Allow, JWT: &JWTRequirement{Providers: []JWTProviderRequirement{{Name: "okta"}}}},
		"no provider":          {SourceName: "web", DestinationName: "api", Action: Allow, JWT: &JWTRequirement{}},
		"condition":            l7("web", Permission{Action: Allow, Condition: "1 +"}),
		"condition no bool":    l7("web", Permission{Action: Allow, Condition: "'x'"}),
		"unknown variable":     l7("web", Permission{Action: Allow, Condition: "caller.age > 3"}),
	} {
		p := Compile(Rules{Intentions: []Intention{allow, bad}, Default: Allow}, scope())
		if d := p.Decide(get(svc(t, "web"), "/x")); d.Allowed || len(p.Problems()) != 1 {
			t.Errorf("%s: allowed = %v by %q, problems %v", name, d.Allowed, d.Rule, p.Problems())
		}
		if d := p.Decide(get(svc(t, "other"), "/x")); !d.Allowed {
			t.Errorf("%s: another caller is denied by %q", name, d.Rule)
		}
	}
	for name, bad := range map[string]Intention{
		"nobody":   {DestinationName: "api", Action: Deny},
		"type":     {SourceName: "web", SourceType: "vm", DestinationName: "api", Action: Deny},
		"partial":  {SourceName: "w*", DestinationName: "api", Action: Deny},
		"nowhere":  {SourceNS: "*", SourceName: "web", DestinationName: "api", Action: Allow},
		"no place": {Unreadable: "x"},
	} {
		p := Compile(Rules{Intentions: []Intention{allow, bad}, Default: Allow}, scope())
		if d := p.Decide(get(svc(t, "web"), "/x")); d.Allowed {
			t.Errorf("%s: allowed by %q", name, d.Rule)
		}
	}
	group := Intention{SourceName: "web", SourceSamenessGroup: "g", DestinationName: "api", Action: Allow}
	p := Compile(Rules{Intentions: []Intention{allow, group}, Default: Allow}, scope())
	if d := p.Decide(get(svc(t, "web"), "/")); d.Allowed {
		t.Errorf("sameness group: allowed by %q", d.Rule)
	}
	if d := p.Decide(get(svc(t, "other"), "/")); !d.Allowed {
		t.Errorf("sameness group: another name is denied by %q", d.Rule)
	}
}

func TestTwoRulesForOneSource(t *testing.T) {
	t.Parallel()
	for _, second := range []Intention{l4("web", Deny), l7("web", prefix(Allow, "/"))} {
		for _, order := range [][]Intention{{l4("web", Allow), second}, {second, l4("web", Allow)}} {
			p := Compile(Rules{Intentions: order, Default: Allow}, scope())
			if d := p.Decide(get(svc(t, "web"), "/x")); d.Allowed && second.Action == Deny {
				t.Errorf("%v: allowed by %q", order, d.Rule)
			}
		}
	}
}

func TestUnknownRulesAllowNothing(t *testing.T) {
	t.Parallel()
	src := newChanging()
	a := start(t, Config{Scope: scope(), Sources: []Source{Static{Default: Allow}, src}})
	if d := a.Decide(get(svc(t, "web"), "/")); d.Allowed || !errors.Is(d.Err, ErrNotReady) {
		t.Errorf("before the rules are known: %+v", d)
	}
	src.next <- Rules{Default: Allow}
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := a.Decide(get(svc(t, "web"), "/")); !d.Allowed {
		t.Errorf("after: %+v", d)
	}
	// Each source must allow.
	src.next <- Rules{Default: Deny}
	src.next <- Rules{Default: Deny}
	if d := a.Decide(get(svc(t, "web"), "/")); d.Allowed || !errors.Is(d.Err, ErrDenied) {
		t.Errorf("one source denies: %+v", d)
	}
}

// fifty are intentions as a large service has them: 45 of one name each, 4 with
// permissions, and one for everybody.
func fifty() []Intention {
	var list []Intention
	for i := range 45 {
		list = append(list, l4(fmt.Sprintf("svc-%02d", i), Allow))
	}
	for i := range 4 {
		list = append(list, l7(fmt.Sprintf("l7-%d", i), prefix(Deny, "/admin"),
			Permission{Action: Allow, HTTP: &HTTPPermission{PathPrefix: "/v1/", Methods: []string{"GET", "POST"}, Header: []HeaderPermission{
				{Name: "x-tenant", Present: true}, {Name: "x-env", Exact: "test", Invert: true},
			}}}))
	}
	return append(list, l4("*", Deny))
}

func TestDecisionAllocatesNothing(t *testing.T) { // not parallel: it counts the process's allocations
	a := start(t, Config{Scope: scope(), Sources: []Source{Static{Intentions: fifty(), Default: Deny}}})
	r := get(svc(t, "l7-3"), "/v1/items/7", "X-Tenant", "t1", "X-Env", "prod")
	g := &Request{Caller: svc(t, "l7-2"), Protocol: "grpc", Method: "POST", Path: "/v1/Call", Headers: metadataHeaders{"x-tenant": {"a"}, "x-env": {"prod"}}}
	for _, r := range []*Request{r, g, get(svc(t, "svc-44"), "/")} {
		if d := a.Decide(r); !d.Allowed {
			t.Fatalf("denied by %q: %s", d.Rule, d.reason)
		}
		if n := testing.AllocsPerRun(100, func() {
			if d := a.Decide(r); !d.Allowed {
				t.Fail()
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", r.Path, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p := Compile(Rules{Intentions: fifty(), Default: Deny}, scope())
	for name, r := range map[string]*Request{
		"L4": get(svc(b, "svc-44"), "/v1/items/7"),
		"L7": get(svc(b, "l7-3"), "/v1/items/7", "X-Tenant", "t1", "X-Env", "prod"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Decide(r); !d.Allowed {
					b.Fatal(d.Rule)
				}
			}
		})
	}
}

func TestRulesAreSortedAsConsulDoes(t *testing.T) {
	t.Parallel()
	list := []Intention{
		{SourceName: "b", DestinationName: "api"}, {SourceName: "a", DestinationName: "api"},
		{SourceName: "z", SourcePeer: "p", DestinationName: "api"}, {SourceName: "*", DestinationName: "api"},
		{SourceName: "a", DestinationName: "*"}, {SourceName: "*", DestinationName: "*"},
	}
	want := slices.Clone(list)
	want[0], want[1] = list[1], list[0]
	slices.SortFunc(list, func(a, b Intention) int {
		if before(&a, &b) {
			return -1
		}
		return 1
	})
	for i := range want {
		if list[i].String() != want[i].String() {
			t.Errorf("%d: %s, want %s", i, &list[i], &want[i])
		}
	}
}

// What was found for a caller is not taken for another, nor for one through a gateway.
func TestFoundRulesAreOfTheirCallers(t *testing.T) {
	t.Parallel()
	p := Compile(Rules{Intentions: []Intention{l4("web", Allow), l4("bew", Deny)}, Default: Allow}, scope())
	gateway := svc(t, "gateway")
	for range 3 {
		for _, tt := range []struct {
			name string
			via  security.PeerID
			want bool
		}{{"web", security.PeerID{}, true}, {"web", gateway, false}, {"bew", security.PeerID{}, false}, {"wbe", security.PeerID{}, true}} {
			r := get(svc(t, tt.name), "/")
			r.Via = tt.via
			if d := p.Decide(r); d.Allowed != tt.want {
				t.Errorf("%s via %s: %+v", tt.name, tt.via, d)
			}
		}
	}
}

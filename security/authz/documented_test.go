package authz

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The tests of this file are the rules that Consul documents for its proxies' RBAC,
// each in all combinations of small parts, against the rule said in a few words.

// Of the intentions for a caller the most specific decides alone: exact source and
// destination, any source, any destination, any of both. One with permissions, which
// Consul allows for an exact destination only, shadows the others also where none of
// its permissions is for the request.
func TestFirstIntentionShadowsTheOthers(t *testing.T) {
	t.Parallel()
	none := ""
	plain := []string{none, "allow", "deny"}
	rich := append(slices.Clone(plain), "allow /v1", "deny /v1")
	of := func(src, dst, what string) Intention {
		act, path, permits := strings.Cut(what, " ")
		in := Intention{SourceName: src, DestinationName: dst}
		if permits {
			in.Permissions = []Permission{prefix(Action(act), path)}
		} else {
			in.Action = Action(act)
		}
		return in
	}
	decided := 0
	for _, exact := range rich {
		for _, anySource := range rich {
			for _, anyDestination := range plain {
				for _, anyBoth := range plain {
					order := []struct{ src, dst, what string }{
						{"web", "api", exact}, {"*", "api", anySource}, {"web", "*", anyDestination}, {"*", "*", anyBoth},
					}
					var list []Intention
					for i := range order { // the last first: the order of the list is no matter
						if o := order[len(order)-1-i]; o.what != none {
							list = append(list, of(o.src, o.dst, o.what))
						}
					}
					for _, def := range []Action{Allow, Deny} {
						p := Compile(Rules{Intentions: list, Default: def}, scope())
						if len(p.Problems()) > 0 {
							t.Fatal(p.Problems())
						}
						for _, caller := range []string{"web", "web2"} {
							for _, path := range []string{"/v1/x", "/other"} {
								want := def
								for _, o := range order {
									if o.what == none || o.src != "*" && o.src != caller {
										continue
									}
									act, prefix, permits := strings.Cut(o.what, " ")
									if !permits || strings.HasPrefix(path, prefix) {
										want = Action(act)
									}
									break
								}
								decided++
								if d := p.Decide(get(svc(t, caller), path)); d.Allowed != (want == Allow) {
									t.Errorf("%v, default %s: %s of %s is allowed %v by %q, want %s", order, def, path, caller, d.Allowed, d.Rule, want)
								}
							}
						}
					}
				}
			}
		}
	}
	if decided != 5*5*3*3*2*2*2 {
		t.Errorf("%d decisions", decided)
	}
}

// The permissions of an intention are asked from the top, and the first that is for
// the request decides; if none is, the default policy does.
func TestFirstPermissionDecides(t *testing.T) {
	t.Parallel()
	type part struct {
		http *HTTPPermission
		is   func(*Request) bool
	}
	parts := map[string]part{
		"prefix /a":  {&HTTPPermission{PathPrefix: "/a"}, func(r *Request) bool { return strings.HasPrefix(r.Path, "/a") }},
		"exact /a/b": {&HTTPPermission{PathExact: "/a/b"}, func(r *Request) bool { return r.Path == "/a/b" }},
		"regex /.+":  {&HTTPPermission{PathRegex: "/.+"}, func(r *Request) bool { return len(r.Path) > 1 }},
		"POST":       {&HTTPPermission{Methods: []string{"POST"}}, func(r *Request) bool { return r.Method == "POST" }},
	}
	var one []string
	for name := range parts {
		one = append(one, "allow "+name, "deny "+name)
	}
	lists := [][]string{}
	for _, a := range one {
		lists = append(lists, []string{a})
		for _, b := range one {
			lists = append(lists, []string{a, b})
			for _, c := range one {
				lists = append(lists, []string{a, b, c})
			}
		}
	}
	var requests []*Request
	for _, path := range []string{"/", "/a", "/a/b", "/a/b/c", "/x"} {
		for _, method := range []string{"GET", "POST"} {
			r := get(svc(t, "web"), path)
			r.Method = method
			requests = append(requests, r)
		}
	}
	for _, list := range lists {
		in := Intention{SourceName: "web", DestinationName: "api"}
		for _, name := range list {
			act, what, _ := strings.Cut(name, " ")
			in.Permissions = append(in.Permissions, Permission{Action: Action(act), HTTP: parts[what].http})
		}
		for _, def := range []Action{Allow, Deny} {
			p := Compile(Rules{Intentions: []Intention{in, l4("*", Allow)}, Default: def}, scope())
			for _, r := range requests {
				want := def
				for _, name := range list {
					if act, what, _ := strings.Cut(name, " "); parts[what].is(r) {
						want = Action(act)
						break
					}
				}
				if d := p.Decide(r); d.Allowed != (want == Allow) {
					t.Errorf("%q, default %s: %s %s is allowed %v by %q, want %s", list, def, r.Method, r.Path, d.Allowed, d.Rule, want)
				}
			}
		}
	}
}

// Where a caller runs is not looked at, its namespace and partition are, and a peer's
// callers are those of the peer's trust domain and partition.
func TestCallersAreOfTheirPlace(t *testing.T) {
	t.Parallel()
	const own, partner = "spiffe://" + domain, "spiffe://partner.example"
	callers := []string{
		own + "/ns/default/dc/eu/svc/web", own + "/ns/default/dc/us/svc/web",
		own + "/ns/team/dc/eu/svc/web", own + "/ap/p1/ns/default/dc/eu/svc/web", own + "/ap/p1/ns/team/dc/eu/svc/web",
		partner + "/ns/default/dc/eu/svc/web", partner + "/ap/p1/ns/default/dc/eu/svc/web",
		"spiffe://else.example/ns/default/dc/eu/svc/web", own + "/ns/default/dc/eu/svc/web2",
	}
	for _, tc := range []struct {
		in   Intention
		want []int // of callers
	}{
		{Intention{SourceName: "web"}, []int{0, 1}},
		{Intention{SourceName: "web", SourceNS: "default", SourcePartition: "default"}, []int{0, 1}},
		{Intention{SourceName: "web", SourceNS: "team"}, []int{2}},
		{Intention{SourceName: "web", SourcePartition: "p1"}, []int{3}},
		{Intention{SourceName: "web", SourceNS: "team", SourcePartition: "p1"}, []int{4}},
		{Intention{SourceName: "web", SourcePeer: "partner"}, []int{5}},
		{Intention{SourceName: "*"}, []int{0, 1, 8}},
		{Intention{SourceName: "*", SourceNS: "*"}, []int{0, 1, 2, 8}},
		{Intention{SourceName: "*", SourcePeer: "partner"}, []int{5}},
	} {
		tc.in.DestinationName, tc.in.Action = "api", Allow
		p := Compile(Rules{Intentions: []Intention{tc.in}, Default: Deny}, scope())
		for i, id := range callers {
			want := slices.Contains(tc.want, i)
			if d := p.Decide(get(peerID(t, id), "/")); d.Allowed != want {
				t.Errorf("%s: %s is allowed %v by %q, want %v; %v", &tc.in, id, d.Allowed, d.Rule, want, p.Problems())
			}
		}
	}
}

// A token is asked for besides the caller, not in its place.
func TestTokenIsAskedForBesidesTheCaller(t *testing.T) {
	t.Parallel()
	okta := newIssuer(t, "okta")
	in := l4("web", Allow)
	in.JWT = &JWTRequirement{Providers: []JWTProviderRequirement{{Name: "okta"}}}
	a := start(t, Config{Scope: scope(), Sources: []Source{Static{Intentions: []Intention{in}, Providers: []Provider{okta.provider(t)}, Default: Deny}}})
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		caller string
		token  bool
	}{{"web", true}, {"web", false}, {"web2", true}, {"web2", false}} {
		r := get(svc(t, tc.caller), "/")
		if tc.token {
			r = get(svc(t, tc.caller), "/", "Authorization", fmt.Sprint("Bearer ", okta.token(t)))
		}
		if d := a.Decide(r); d.Allowed != (tc.caller == "web" && tc.token) {
			t.Errorf("%s with a token %v is allowed %v by %q", tc.caller, tc.token, d.Allowed, d.Rule)
		}
	}
}

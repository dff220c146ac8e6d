package authz

import "testing"

// A header rule sees every value of a repeated header, each element of a list, and
// does not lose sight of bytes that are no text. Where Envoy as Consul configures it
// says "allowed", so may we; where it says "denied", we do.
func TestHeaders(t *testing.T) {
	t.Parallel()
	exact := HeaderPermission{Name: "x-role", Exact: "admin"}
	fold := HeaderPermission{Name: "X-ROLE", Exact: "Admin", IgnoreCase: true}
	inverted := HeaderPermission{Name: "x-role", Exact: "admin", Invert: true}
	regex := HeaderPermission{Name: "x-role", Regex: "[a-z]+"}
	contains := HeaderPermission{Name: "x-role", Contains: "adm"}
	absent := HeaderPermission{Name: "x-role", Present: true, Invert: true}
	for _, tc := range []struct {
		name        string
		h           HeaderPermission
		values      []string
		allow, deny bool // whether an allow, a deny permission is for the request
	}{
		{"one", exact, []string{"admin"}, true, true},
		{"another", exact, []string{"user"}, false, false},
		{"none", exact, nil, false, false},
		{"empty", exact, []string{""}, false, false},
		{"case", exact, []string{"Admin"}, false, false},
		{"case ignored", fold, []string{"aDMIN"}, true, true},
		{"first differs", exact, []string{"user", "admin"}, false, true},
		{"second differs", exact, []string{"admin", "user"}, false, true},
		{"list", exact, []string{"user,admin"}, false, true},
		{"list with blanks", exact, []string{"user , admin"}, false, true},
		{"twice the same", exact, []string{"admin", "admin"}, false, true},
		{"inverted", inverted, []string{"user"}, true, true},
		{"inverted, is it", inverted, []string{"admin"}, false, false},
		{"inverted, none", inverted, nil, false, true},
		{"inverted, one of two", inverted, []string{"user", "admin"}, false, true},
		{"contains", contains, []string{"xadmx"}, true, true},
		{"regex", regex, []string{"admin"}, true, true},
		{"regex of a part", regex, []string{"admin1"}, false, false},
		{"regex, no text", regex, []string{"admin\xff"}, false, true},
		{"regex, one of two", regex, []string{"1", "admin"}, false, true},
		{"present", HeaderPermission{Name: "x-role", Present: true}, []string{""}, true, true},
		{"absent", absent, nil, true, true},
		{"absent, is there", absent, []string{"x"}, false, false},
		{"suffix", HeaderPermission{Name: "x-role", Suffix: "min"}, []string{"admin"}, true, true},
		{"prefix", HeaderPermission{Name: "x-role", Prefix: "ad"}, []string{"admin"}, true, true},
	} {
		var kv []string
		for _, v := range tc.values {
			kv = append(kv, "X-Role", v)
		}
		r := get(svc(t, "web"), "/", kv...)
		for _, side := range []struct {
			action Action
			want   bool
		}{{Allow, tc.allow}, {Deny, tc.deny}} {
			perm := Permission{Action: side.action, HTTP: &HTTPPermission{Header: []HeaderPermission{tc.h}}}
			other := Deny
			if side.action == Deny {
				other = Allow
			}
			p := Compile(Rules{Intentions: []Intention{l7("web", perm)}, Default: other}, scope())
			if len(p.Problems()) > 0 {
				t.Fatal(p.Problems())
			}
			d := p.Decide(r)
			if matched := d.Allowed == (side.action == Allow); matched != side.want {
				t.Errorf("%s: %s permission matches = %v, want %v", tc.name, side.action, matched, side.want)
			}
		}
	}
}

func TestAuthorityHasNoCase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{":authority", "Host"} {
		p := Compile(Rules{Default: Allow, Intentions: []Intention{l7("web", Permission{Action: Deny, HTTP: &HTTPPermission{
			Header: []HeaderPermission{{Name: name, Exact: "admin.example"}}}})}}, scope())
		r := get(svc(t, "web"), "/")
		r.Authority = "ADMIN.Example"
		if p.Decide(r).Allowed {
			t.Errorf("%s: another case passes a deny rule", name)
		}
	}
}

func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		http         HTTPPermission
		method, path string
		allow, deny  bool
	}{
		{HTTPPermission{PathExact: "/admin"}, "GET", "/admin", true, true},
		{HTTPPermission{PathExact: "/admin"}, "GET", "/admin/", false, true}, // routers serve both
		{HTTPPermission{PathExact: "/admin"}, "GET", "/admin/x", false, false},
		{HTTPPermission{PathExact: "/a%20b"}, "GET", "/a b", true, true}, // rules are escaped, paths are not
		{HTTPPermission{PathPrefix: "/admin"}, "GET", "/administrator", true, true},
		{HTTPPermission{PathPrefix: "/a/*"}, "GET", "/a/*/b", true, true}, // a literal star
		{HTTPPermission{PathPrefix: "/a/*"}, "GET", "/a/x/b", false, false},
		{HTTPPermission{PathRegex: "/v[0-9]+/x"}, "GET", "/v12/x", true, true},
		{HTTPPermission{PathRegex: "/v[0-9]+/x"}, "GET", "/v12/x/y", false, false},
		{HTTPPermission{Methods: []string{"get"}}, "GET", "/", true, true},
		{HTTPPermission{Methods: []string{"GET"}}, "HEAD", "/", false, true}, // a router's GET serves HEAD
		{HTTPPermission{Methods: []string{"GET"}}, "POST", "/", false, false},
	} {
		for action, want := range map[Action]bool{Allow: tc.allow, Deny: tc.deny} {
			def := Deny
			if action == Deny {
				def = Allow
			}
			p := Compile(Rules{Default: def, Intentions: []Intention{l7("web", Permission{Action: action, HTTP: &tc.http})}}, scope())
			r := get(svc(t, "web"), tc.path)
			r.Method = tc.method
			if matched := p.Decide(r).Allowed == (action == Allow); matched != want {
				t.Errorf("%s %+v: %s %s: matches = %v, want %v (%v)", action, tc.http, tc.method, tc.path, matched, want, p.Problems())
			}
		}
	}
}

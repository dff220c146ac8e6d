package chain

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	h := func(kv ...string) map[string][]string {
		m := map[string][]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = append(m[kv[i]], kv[i+1])
		}
		return m
	}
	header := func(m HeaderMatch) HTTPMatch { m.Name = "X-H"; return HTTPMatch{Header: []HeaderMatch{m}} }
	query := func(m QueryMatch) HTTPMatch { m.Name = "q"; return HTTPMatch{QueryParam: []QueryMatch{m}} }
	for _, tc := range []struct {
		name  string
		match HTTPMatch
		req   Recorded
		want  bool
	}{
		{"exact", HTTPMatch{PathExact: "/a"}, Recorded{Path: "/a"}, true},
		{"exact is whole", HTTPMatch{PathExact: "/a"}, Recorded{Path: "/a/"}, false},
		{"exact with query", HTTPMatch{PathExact: "/a"}, Recorded{Path: "/a", Query: "x=1"}, true},
		{"exact other case", HTTPMatch{PathExact: "/a"}, Recorded{Path: "/A"}, false},
		{"exact any case", HTTPMatch{PathExact: "/aBc", CaseInsensitive: true}, Recorded{Path: "/AbC"}, true},
		{"any case is ASCII", HTTPMatch{PathExact: "/k", CaseInsensitive: true}, Recorded{Path: "/\u212a"}, false},
		{"prefix", HTTPMatch{PathPrefix: "/adm"}, Recorded{Path: "/admin/x"}, true},
		{"prefix is no segment", HTTPMatch{PathPrefix: "/admin"}, Recorded{Path: "/administrator"}, true},
		{"prefix too long", HTTPMatch{PathPrefix: "/admin/"}, Recorded{Path: "/admin"}, false},
		{"prefix any case", HTTPMatch{PathPrefix: "/AD", CaseInsensitive: true}, Recorded{Path: "/admin"}, true},
		{"prefix any case too long", HTTPMatch{PathPrefix: "/ADMIN", CaseInsensitive: true}, Recorded{Path: "/ad"}, false},
		{"prefix slash", HTTPMatch{PathPrefix: "/"}, Recorded{Path: "/x"}, true},
		{"no path", HTTPMatch{}, Recorded{}, true},
		{"star is no path", HTTPMatch{}, Recorded{Method: "OPTIONS", Path: "*"}, false},
		{"encoded is as sent", HTTPMatch{PathPrefix: "/admin"}, Recorded{Path: "/%61dmin"}, false},
		{"regex", HTTPMatch{PathRegex: "/r/[0-9]+"}, Recorded{Path: "/r/42"}, true},
		{"regex is whole", HTTPMatch{PathRegex: "/r/[0-9]+"}, Recorded{Path: "/r/42/x"}, false},
		{"regex begins", HTTPMatch{PathRegex: "r/[0-9]+"}, Recorded{Path: "/r/42"}, false},
		{"regex anchored", HTTPMatch{PathRegex: "^/r/[0-9]+$"}, Recorded{Path: "/r/42"}, true},
		{"regex alternatives", HTTPMatch{PathRegex: "/a|/b"}, Recorded{Path: "/bc"}, false},
		{"regex newline", HTTPMatch{PathRegex: "/a$"}, Recorded{Path: "/a\n"}, false},
		{"regex without query", HTTPMatch{PathRegex: "/a"}, Recorded{Path: "/a", Query: "b"}, true},
		{"gRPC method", HTTPMatch{PathExact: "/pay.Pay/Charge"}, Recorded{Method: "POST", Path: "/pay.Pay/Charge"}, true},
		{"gRPC service", HTTPMatch{PathPrefix: "/pay.Pay/"}, Recorded{Method: "POST", Path: "/pay.Pay/Charge"}, true},
		{"gRPC other service", HTTPMatch{PathPrefix: "/pay.Pay/"}, Recorded{Method: "POST", Path: "/pay.PayOld/Charge"}, false},

		{"method", HTTPMatch{Methods: []string{"GET", "PUT"}}, Recorded{Method: "PUT", Path: "/"}, true},
		{"other method", HTTPMatch{Methods: []string{"GET", "PUT"}}, Recorded{Method: "POST", Path: "/"}, false},
		{"method in lower case", HTTPMatch{Methods: []string{"GET"}}, Recorded{Method: "get", Path: "/"}, false},

		{"present", header(HeaderMatch{Present: true}), Recorded{Header: h("x-h", "")}, true},
		{"absent", header(HeaderMatch{Present: true}), Recorded{}, false},
		{"not present", header(HeaderMatch{Present: true, Invert: true}), Recorded{}, true},
		{"exact value", header(HeaderMatch{Exact: "a"}), Recorded{Header: h("X-h", "a")}, true},
		{"exact value other", header(HeaderMatch{Exact: "a"}), Recorded{Header: h("x-h", "ab")}, false},
		{"exact value empty", header(HeaderMatch{Exact: "a"}), Recorded{Header: h("x-h", "")}, false},
		{"exact value case", header(HeaderMatch{Exact: "a"}), Recorded{Header: h("x-h", "A")}, false},
		{"exact value any case", header(HeaderMatch{Exact: "a", IgnoreCase: true}), Recorded{Header: h("x-h", "A")}, true},
		{"prefix value", header(HeaderMatch{Prefix: "ab"}), Recorded{Header: h("x-h", "abc")}, true},
		{"prefix value any case", header(HeaderMatch{Prefix: "ab", IgnoreCase: true}), Recorded{Header: h("x-h", "ABc")}, true},
		{"prefix value short", header(HeaderMatch{Prefix: "ab", IgnoreCase: true}), Recorded{Header: h("x-h", "A")}, false},
		{"suffix value", header(HeaderMatch{Suffix: "bc"}), Recorded{Header: h("x-h", "abc")}, true},
		{"suffix value any case", header(HeaderMatch{Suffix: "bc", IgnoreCase: true}), Recorded{Header: h("x-h", "ABC")}, true},
		{"suffix value other", header(HeaderMatch{Suffix: "bc"}), Recorded{Header: h("x-h", "bcd")}, false},
		{"contains value", header(HeaderMatch{Contains: "bc"}), Recorded{Header: h("x-h", "abcd")}, true},
		{"contains value any case", header(HeaderMatch{Contains: "bC", IgnoreCase: true}), Recorded{Header: h("x-h", "aBcd")}, true},
		{"contains value other", header(HeaderMatch{Contains: "bc"}), Recorded{Header: h("x-h", "b-c")}, false},
		{"regex value", header(HeaderMatch{Regex: "a.*"}), Recorded{Header: h("x-h", "abc")}, true},
		{"regex value whole", header(HeaderMatch{Regex: "b"}), Recorded{Header: h("x-h", "abc")}, false},
		{"regex value any case", header(HeaderMatch{Regex: "a.*", IgnoreCase: true}), Recorded{Header: h("x-h", "ABC")}, true},
		{"regex value bytes", header(HeaderMatch{Regex: "a.c"}), Recorded{Header: h("x-h", "a\xffc")}, true},
		{"inverted", header(HeaderMatch{Exact: "a", Invert: true}), Recorded{Header: h("x-h", "b")}, true},
		{"inverted absent", header(HeaderMatch{Exact: "a", Invert: true}), Recorded{}, true},
		{"inverted equal", header(HeaderMatch{Exact: "a", Invert: true}), Recorded{Header: h("x-h", "a")}, false},

		{"second value", header(HeaderMatch{Exact: "b"}), Recorded{Header: h("x-h", "a", "x-h", "b")}, true},
		{"first value", header(HeaderMatch{Exact: "a"}), Recorded{Header: h("x-h", "a", "x-h", "b")}, true},
		{"joined value, as Envoy", header(HeaderMatch{Exact: "a,b"}), Recorded{Header: h("x-h", "a", "x-h", "b")}, true},
		{"joined pattern, as Envoy", header(HeaderMatch{Regex: "a,b"}), Recorded{Header: h("x-h", "a", "x-h", "b")}, true},
		{"joined prefix, as Envoy", header(HeaderMatch{Prefix: "a,"}), Recorded{Header: h("x-h", "a", "x-h", "b")}, true},
		{"a list in one value", header(HeaderMatch{Exact: "a"}), Recorded{Header: h("x-h", "a,b")}, false},
		{"not by an added value", header(HeaderMatch{Exact: "admin", Invert: true}), Recorded{Header: h("x-h", "user", "x-h", "admin")}, false},
		{"not by a value before", header(HeaderMatch{Regex: "admin", Invert: true}), Recorded{Header: h("x-h", "admin", "x-h", "user")}, false},

		{"authority", HTTPMatch{Header: []HeaderMatch{{Name: ":authority", Exact: "web"}}}, Recorded{Authority: "web"}, true},
		{"host", HTTPMatch{Header: []HeaderMatch{{Name: "Host", Exact: "web"}}}, Recorded{Authority: "other"}, false},
		{"no authority", HTTPMatch{Header: []HeaderMatch{{Name: ":authority", Present: true}}}, Recorded{}, false},
		{"method header", HTTPMatch{Header: []HeaderMatch{{Name: ":method", Exact: "PUT"}}}, Recorded{Method: "PUT"}, true},
		{"path header", HTTPMatch{Header: []HeaderMatch{{Name: ":path", Suffix: "?a=1"}}}, Recorded{Path: "/x", Query: "a=1"}, true},
		{"path header alone", HTTPMatch{Header: []HeaderMatch{{Name: ":path", Exact: "/x"}}}, Recorded{Path: "/x"}, true},

		{"query present", query(QueryMatch{Present: true}), Recorded{Query: "q"}, true},
		{"query absent", query(QueryMatch{Present: true}), Recorded{Query: "p=q"}, false},
		{"query exact", query(QueryMatch{Exact: "qa"}), Recorded{Query: "a=b&q=qa&c"}, true},
		{"query other", query(QueryMatch{Exact: "qa"}), Recorded{Query: "q=q"}, false},
		{"query second", query(QueryMatch{Exact: "qa"}), Recorded{Query: "q=1&q=qa"}, true},
		{"query decoded", query(QueryMatch{Exact: "a b"}), Recorded{Query: "q=a+b"}, true},
		{"query as sent", query(QueryMatch{Exact: "a%20b"}), Recorded{Query: "q=a%20b"}, true},
		{"query name decoded", query(QueryMatch{Exact: "1"}), Recorded{Query: "%71=1"}, true},
		{"query broken escape", query(QueryMatch{Exact: "%"}), Recorded{Query: "q=%"}, true},
		{"query regex", query(QueryMatch{Regex: "[0-9]+"}), Recorded{Query: "q=12"}, true},
		{"query regex whole", query(QueryMatch{Regex: "[0-9]+"}), Recorded{Query: "q=12a"}, false},

		{"all hold", HTTPMatch{PathPrefix: "/a", Methods: []string{"GET"}, Header: []HeaderMatch{{Name: "x", Present: true}}, QueryParam: []QueryMatch{{Name: "q", Present: true}}},
			Recorded{Method: "GET", Path: "/ab", Header: h("x", "1"), Query: "q"}, true},
		{"one does not", HTTPMatch{PathPrefix: "/a", Methods: []string{"GET"}, Header: []HeaderMatch{{Name: "x", Present: true}, {Name: "y", Present: true}}},
			Recorded{Method: "GET", Path: "/ab", Header: h("x", "1")}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := evaluator(t, routes(&tc.match), Options{})
			d := e.Route(tc.req.Request())
			if got := d.Plan != nil && d.Route == 0; got != tc.want {
				t.Errorf("matches: %v, want %v", got, tc.want)
			}
			if x := e.Explain(tc.req.Request()); x.Routes[0].Matched != tc.want || !tc.want && x.Routes[0].Why == "" {
				t.Errorf("explained otherwise:\n%s", x)
			}
		})
	}
}

func TestFirstMatchWins(t *testing.T) {
	t.Parallel()
	e := evaluator(t, routes(&HTTPMatch{PathPrefix: "/a"}, &HTTPMatch{PathExact: "/a"}, &HTTPMatch{PathPrefix: "/b"}), Options{})
	for path, want := range map[string]string{"/a": "r00", "/ab": "r00", "/b": "r02", "/c": "rest", "": "rest"} {
		if d := e.Route(&Request{Path: path}); d.Target.Service != want {
			t.Errorf("%q goes to %s, want %s", path, d.Target.Service, want)
		}
	}
	if d := e.Route(&Request{Path: "*"}); d.Plan != nil {
		t.Errorf("* goes to %s, want nowhere", d.Target.ID)
	}
}

// Many distinct headers: those that are not kept between looks count as well.
func TestManyHeaders(t *testing.T) {
	t.Parallel()
	var matches []*HTTPMatch
	for i := range 20 {
		matches = append(matches, &HTTPMatch{Header: []HeaderMatch{{Name: "x-" + string(rune('a'+i)), Present: true}}})
	}
	e := evaluator(t, routes(matches...), Options{})
	for i := range 20 {
		r := Recorded{Header: map[string][]string{"x-" + string(rune('a'+i)): {"1"}}}.Request()
		if d := e.Route(r); d.Route != i {
			t.Errorf("header %d: route %d", i, d.Route)
		}
	}
}

func FuzzMatchHeader(f *testing.F) {
	f.Add("abc", "a", byte(0), false)
	f.Add("a,b", "a,b", byte(1), true)
	f.Add("\xff\x00", "(?i)x|y", byte(5), false)
	f.Fuzz(func(t *testing.T, value, text string, kind byte, fold bool) {
		m := HeaderMatch{Name: "x", IgnoreCase: fold}
		switch kind % 6 {
		case 0:
			m.Exact = text
		case 1:
			m.Prefix = text
		case 2:
			m.Suffix = text
		case 3:
			m.Contains = text
		case 4:
			m.Regex = text
		case 5:
			m.Present = true
		}
		inverted := m
		inverted.Invert = true
		one, bad, err := New(routes(&HTTPMatch{Header: []HeaderMatch{m}}), Options{})
		two, _, err2 := New(routes(&HTTPMatch{Header: []HeaderMatch{inverted}}), Options{})
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%v, inverted %v", err, err2)
		}
		if err != nil || len(bad) > 0 {
			return
		}
		alone := Recorded{Header: map[string][]string{"x": {value}}}.Request()
		more := Recorded{Header: map[string][]string{"x": {"first", value, "last"}}}.Request()
		hit := one.Route(alone).Route == 0
		if hit == (two.Route(alone).Route == 0) {
			t.Fatalf("%+v: %q matches a match and its opposite", m, value)
		}
		if hit && one.Route(more).Route != 0 {
			t.Fatalf("%+v: %q is hidden by other values", m, value)
		}
		if m.Exact != "" && !fold && hit != (value == m.Exact) {
			t.Fatalf("exact %q, value %q: %v", m.Exact, value, hit)
		}
		if m.Contains != "" && !fold && hit != strings.Contains(value, m.Contains) {
			t.Fatalf("contains %q, value %q: %v", m.Contains, value, hit)
		}
	})
}

func FuzzMatchPath(f *testing.F) {
	f.Add("/admin", "/admin/x", byte(1), false, "/")
	f.Add("/a", "/A", byte(0), true, "/b")
	f.Add("/[a-z]+", "/abc", byte(2), false, "")
	f.Fuzz(func(t *testing.T, pattern, path string, kind byte, fold bool, rewrite string) {
		m := HTTPMatch{CaseInsensitive: fold}
		switch kind % 3 {
		case 0:
			m.PathExact = pattern
		case 1:
			m.PathPrefix = pattern
		case 2:
			m.PathRegex = pattern
		}
		c := routes(&m)
		c.Nodes[c.StartNode].Routes[0].Definition.Destination.PrefixRewrite = rewrite
		e, _, err := New(c, Options{})
		if err != nil {
			return
		}
		r := &Request{Path: path}
		d := e.Route(r)
		if got := e.Explain(r).Decision; got.Plan != d.Plan {
			t.Fatal("explained otherwise")
		}
		if d.Plan == nil || d.Route != 0 {
			return
		}
		if path == "" {
			path = "/"
		}
		switch {
		case m.PathPrefix != "" && !fold && !strings.HasPrefix(path, m.PathPrefix):
			t.Fatalf("%q has not the prefix %q", path, m.PathPrefix)
		case m.PathExact != "" && !fold && path != m.PathExact:
			t.Fatalf("%q is not %q", path, m.PathExact)
		}
		if out := d.Rewrite(path); d.Rewrites() && !strings.HasPrefix(out, d.rewrite) || !d.Rewrites() && out != path {
			t.Fatalf("%q is rewritten by %q to %q", path, rewrite, out)
		}
	})
}

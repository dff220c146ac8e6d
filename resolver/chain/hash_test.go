package chain

import (
	"testing"
	"time"
)

// hashing is a chain whose load balancer has these policies.
func hashing(policies ...HashPolicy) *Chain {
	c := split(100)
	c.StartNode = "resolver:v1.web"
	c.Nodes[c.StartNode].LoadBalancer = &LoadBalancer{Policy: "ring_hash", HashPolicies: policies}
	return c
}

func TestHashKey(t *testing.T) {
	t.Parallel()
	header := HashPolicy{Field: "header", FieldValue: "X-User"}
	cookie := HashPolicy{Field: "cookie", FieldValue: "sid"}
	query := HashPolicy{Field: "query_parameter", FieldValue: "u"}
	ip := HashPolicy{SourceIP: true}
	end := func(p HashPolicy) HashPolicy { p.Terminal = true; return p }
	h := func(kv ...string) map[string][]string {
		m := map[string][]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = append(m[kv[i]], kv[i+1])
		}
		return m
	}
	a, b := hashString("a"), hashString("b")
	join := func(x, y uint64) uint64 { return (x<<1 | x>>63) ^ y }
	for _, tc := range []struct {
		name     string
		policies []HashPolicy
		req      Recorded
		want     uint64
		ok       bool
	}{
		{"header", []HashPolicy{header}, Recorded{Header: h("x-user", "a")}, a, true},
		{"empty header", []HashPolicy{header}, Recorded{Header: h("x-user", "")}, hashString(""), true},
		{"no header", []HashPolicy{header}, Recorded{}, 0, false},
		{"header's values in any order", []HashPolicy{header}, Recorded{Header: h("x-user", "b", "x-user", "a")}, a + b, true},
		{"cookie", []HashPolicy{cookie}, Recorded{Header: h("cookie", "x=y; sid=a; z")}, a, true},
		{"quoted cookie", []HashPolicy{cookie}, Recorded{Header: h("cookie", `sid="a"`)}, a, true},
		{"cookie in the second header", []HashPolicy{cookie}, Recorded{Header: h("cookie", "x=y", "cookie", "sid=a")}, a, true},
		{"other cookie", []HashPolicy{cookie}, Recorded{Header: h("cookie", "xsid=a; sid2=a; sid")}, 0, false},
		{"query", []HashPolicy{query}, Recorded{Query: "x=1&u=a&u=b"}, a, true},
		{"no query", []HashPolicy{query}, Recorded{Query: "x=u"}, 0, false},
		{"source", []HashPolicy{ip}, Recorded{SourceIP: "a"}, a, true},
		{"no source", []HashPolicy{ip}, Recorded{}, 0, false},
		{"two are joined", []HashPolicy{header, ip}, Recorded{Header: h("x-user", "a"), SourceIP: "b"}, join(a, b), true},
		{"order counts", []HashPolicy{ip, header}, Recorded{Header: h("x-user", "a"), SourceIP: "b"}, join(b, a), true},
		{"the same twice does not vanish", []HashPolicy{header, header}, Recorded{Header: h("x-user", "a")}, join(a, a), true},
		{"terminal ends", []HashPolicy{end(header), ip}, Recorded{Header: h("x-user", "a"), SourceIP: "b"}, a, true},
		{"terminal without key goes on", []HashPolicy{end(header), ip}, Recorded{SourceIP: "b"}, b, true},
		{"terminal without its own key ends after another", []HashPolicy{ip, end(header), query}, Recorded{SourceIP: "b", Query: "u=a"}, b, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := evaluator(t, hashing(tc.policies...), Options{}).Route(tc.req.Request())
			if d.HasHash != tc.ok || d.Hash != tc.want {
				t.Errorf("got %x %v, want %x %v", d.Hash, d.HasHash, tc.want, tc.ok)
			}
			if d.Cookie != nil {
				t.Errorf("a cookie %v", d.Cookie)
			}
		})
	}
}

func TestHashMakesCookies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		cfg  *CookieConfig
		want *Cookie // without its value
	}{
		{"no config", nil, nil},
		{"no TTL", &CookieConfig{Path: "/"}, nil},
		{"TTL", &CookieConfig{TTL: time.Hour, Path: "/a"}, &Cookie{Name: "sid", Path: "/a", TTL: time.Hour}},
		{"session", &CookieConfig{Session: true}, &Cookie{Name: "sid"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := evaluator(t, hashing(HashPolicy{Field: "cookie", FieldValue: "sid", CookieConfig: tc.cfg}), Options{})
			d := e.Route(&Request{})
			if tc.want == nil {
				if d.Cookie != nil || d.HasHash {
					t.Errorf("got %v", d.Cookie)
				}
				return
			}
			if d.Cookie == nil || d.Cookie.Value == "" {
				t.Fatalf("got %v", d.Cookie)
			}
			back := Recorded{Header: map[string][]string{"cookie": {"sid=" + d.Cookie.Value}}}.Request()
			if next := e.Route(back); next.Hash != d.Hash || next.Cookie != nil {
				t.Errorf("the next request has key %x and cookie %v, want %x and none", next.Hash, next.Cookie, d.Hash)
			}
			if other := e.Route(&Request{}); other.Cookie.Value == d.Cookie.Value {
				t.Error("two clients get the same cookie")
			}
			d.Cookie.Value = ""
			if *d.Cookie != *tc.want {
				t.Errorf("got %+v, want %+v", d.Cookie, tc.want)
			}
		})
	}
}

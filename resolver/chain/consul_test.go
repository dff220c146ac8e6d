package chain_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
	"github.com/weft-mesh/weft/resolver/consul"
)

// What a filter leaves of endpoints without marks is what Consul's own ?filter= leaves,
// instance by instance, if what an endpoint carries is enough. What Consul refuses is
// refused here.
func TestFiltersAsConsul(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{})
	for i, r := range []*api.AgentServiceRegistration{
		{Meta: map[string]string{"version": "1.2", "empty": "", "a-b": "x"}, Tags: []string{"green", "eu"}},
		{Meta: map[string]string{"version": "2.0"}, Tags: []string{"blue"}},
		{Meta: map[string]string{"other": "1"}},
		{},
		{Meta: map[string]string{"version": "1.2", "empty": "no"}, Tags: []string{"greenish"}},
	} {
		r.Name, r.ID, r.Address, r.Port = "web", fmt.Sprintf("web-%d", i), fmt.Sprintf("10.0.0.%d", i+1), 8000+i
		if err := agent.Client().Agent().ServiceRegister(r); err != nil {
			t.Fatal(err)
		}
	}
	snap := watch(t, agent, "web", 5)
	target := &chain.Target{Service: "web", Datacenter: "dc1"}
	left, refused := 0, 0
	for _, filter := range filters() {
		target.Subset.Filter = filter
		f, bad := chain.NewFilter(target, chain.Residency{})
		got, _, err := agent.Client().Health().Service("web", "", false, &api.QueryOptions{Filter: filter})
		var want, have []string
		for _, e := range got {
			want = append(want, e.Service.ID)
		}
		for _, e := range snap.Endpoints {
			if f.Match(e) {
				have = append(have, e.ID.Instance)
			}
		}
		switch {
		case err != nil:
			refused++
			if f.Remote() || len(bad) == 0 || len(have) > 0 {
				t.Errorf("%s: decided here, and refused by Consul: %v", filter, err)
			}
			continue
		case len(bad) > 0 && !strings.Contains(bad[0].Why, "dialled"):
			left++
			if !f.Remote() || len(have) > 0 {
				t.Errorf("%s: neither decided nor left to the source: %v", filter, bad)
			}
			continue
		}
		slices.Sort(want)
		slices.Sort(have)
		if !slices.Equal(want, have) {
			t.Errorf("%s: %v, Consul says %v", filter, have, want)
		}
	}
	t.Logf("%d filters, %d left to the source, %d refused", len(filters()), left, refused)
}

// filters are all operators on all fields that an endpoint carries, and some more,
// alone and joined.
func filters() []string {
	var one, all []string
	fields := []string{"Service.Meta.version", "Service.Meta.empty", `Service.Meta["a-b"]`, "Service.Meta.none", "Service.ID", "Service.Service", "Service.Kind",
		"Service.Address", "Service.Port", "Service.Tags", "Service.Meta", "Node.Node", "Node.Datacenter", "Node.PeerName", "Service.PeerName",
		"Node.Meta.x", "Node.Address", "Checks.Status", "Service.Nope", "Service.Weights.Passing"}
	values := []string{`"1.2"`, `""`, `"web-1"`, `"web"`, `8001`, `"8001"`, `"green"`, `"version"`, `"dc1"`, `"^1\\."`, `"10.0.0.2"`, `"dc1-1"`}
	for _, f := range fields {
		for _, v := range values {
			for _, op := range []string{"==", "!=", "contains", "not contains", "matches", "not matches"} {
				one = append(one, f+" "+op+" "+v)
			}
			one = append(one, v+" in "+f, v+" not in "+f)
		}
		one = append(one, f+" is empty", f+" is not empty")
	}
	all = append(all, one...)
	for i := range one {
		a, b := one[i], one[(i*7919+13)%len(one)]
		switch i % 9 {
		case 0:
			all = append(all, "("+a+") and ("+b+")")
		case 3:
			all = append(all, a+" or not "+b)
		case 6:
			all = append(all, "not ("+a+" or "+b+")")
		}
	}
	return all
}

// watch waits for n endpoints.
func watch(t *testing.T, agent *consultest.Agent, service string, n int) *resolver.Snapshot {
	t.Helper()
	cat, err := consul.New(consul.Config{Name: "aws", Address: agent.HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer cat.Close(context.WithoutCancel(ctx))
	var got *resolver.Snapshot
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	_ = cat.Watch(wctx, service, func(s *resolver.Snapshot) {
		if s.State == resolver.Known && len(s.Endpoints) == n {
			got = s
			stop()
		}
	})
	if got == nil {
		t.Fatalf("there are no %d endpoints of %s", n, service)
	}
	return got
}

// A chain with every field that the community edition takes is read without loss or
// problem, from a Consul that compiled it just now.
func TestChainFromConsul(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{})
	for _, entry := range []string{
		`{"Kind":"proxy-defaults","Name":"global","Config":{"protocol":"http"}}`,
		`{"Kind":"service-defaults","Name":"web","Protocol":"http","Meta":{"weft-sticky":"header:x-user","weft-mirror":"shadow","weft-mirror-percent":"5"}}`,
		`{"Kind":"service-resolver","Name":"web","DefaultSubset":"v1","ConnectTimeout":"3s","RequestTimeout":"7s",
			"Subsets":{"v1":{"Filter":"Service.Meta.version == 1"},"v2":{"Filter":"Service.Meta.version == 2","OnlyPassing":true}},
			"Failover":{"v2":{"ServiceSubset":"v1"}},
			"LoadBalancer":{"Policy":"maglev","HashPolicies":[{"Field":"cookie","FieldValue":"sid","CookieConfig":{"Session":true}},{"SourceIP":true,"Terminal":true}]}}`,
		`{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":99.99,"ServiceSubset":"v1"},{"Weight":0.01,"ServiceSubset":"v2","RequestHeaders":{"Set":{"x-canary":"1"}}}]}`,
		`{"Kind":"service-router","Name":"web","Routes":[{"Match":{"HTTP":{"PathPrefix":"/admin","Methods":["GET"],"Header":[{"Name":"x-a","Suffix":"z","Invert":true}],"QueryParam":[{"Name":"q","Regex":"[0-9]"}]}},
			"Destination":{"Service":"admin","PrefixRewrite":"/","RequestTimeout":"2s","NumRetries":2,"RetryOn":["unavailable"],"ResponseHeaders":{"Remove":["server"]}}}]}`,
	} {
		call(t, agent, http.MethodPut, "/v1/config", entry)
	}
	body := call(t, agent, http.MethodGet, "/v1/discovery-chain/web", "")
	c, bad, err := chain.Decode(strings.NewReader(body))
	if err != nil || len(bad) > 0 {
		t.Fatalf("%v, problems %v", err, bad)
	}
	e, bad, err := chain.New(c, chain.Options{})
	if err != nil || len(bad) > 0 {
		t.Fatalf("%v, problems %v", err, bad)
	}
	draw := 0.99995
	for _, tc := range []struct {
		req  chain.Recorded
		want string
	}{
		{chain.Recorded{Path: "/admin/users", Query: "q=7"}, "route 0: path /admin…, method GET, not header x-a = …z, query q like [0-9]: matches"},
		{chain.Recorded{Path: "/admin/users", Query: "q=7"}, "path becomes //users"},
		{chain.Recorded{Path: "/admin/users", Query: "q=x"}, `route 0: path /admin…, method GET, not header x-a = …z, query q like [0-9]: no, the query is "q=x"`},
		{chain.Recorded{Path: "/", Draw: &draw}, "* v2.web.default.default.dc1: weight 0.01 %, gets 0.01 %"},
		{chain.Recorded{Path: "/", Draw: &draw}, "failover 1: v1.web.default.default.dc1, where Service.Meta.version == 1"},
		{chain.Recorded{Path: "/", Draw: &draw}, "request header: set x-canary: 1"},
		{chain.Recorded{Path: "/", Draw: &draw}, "timeout 7s, by the chain"},
		{chain.Recorded{Path: "/", Draw: &draw}, "balanced by maglev, by a new cookie sid"},
	} {
		if got := e.Explain(tc.req.Request()).String(); !strings.Contains(got, tc.want) {
			t.Errorf("no line %q in\n%s", tc.want, got)
		}
	}
	if p := e.Policy(); p.Mirror != (chain.Mirror{Service: "shadow", Percent: 5}) || !slices.Equal(p.Sticky, []string{"header:x-user"}) {
		t.Errorf("policy %+v", p)
	}
}

func call(t *testing.T, agent *consultest.Agent, method, path, body string) string {
	t.Helper()
	u := url.URL{Scheme: "http", Host: agent.HTTPAddr(), Path: path}
	req, err := http.NewRequestWithContext(t.Context(), method, u.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, out, err)
	}
	return string(out)
}

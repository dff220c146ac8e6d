package chain

import (
	"strings"
	"testing"
)

func TestMatchErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		match HTTPMatch
		want  string
	}{
		{"two paths", HTTPMatch{PathExact: "/a", PathPrefix: "/b"}, "service-router/web: Routes[0].Match.HTTP sets 2 of PathExact"},
		{"bad path regex", HTTPMatch{PathRegex: "("}, "service-router/web: Routes[0].Match.HTTP.PathRegex is no RE2 expression"},
		{"escaping regex", HTTPMatch{PathRegex: "a)|(b"}, "PathRegex is no RE2 expression"},
		{"long regex", HTTPMatch{PathRegex: strings.Repeat("a", 5000)}, "PathRegex has 5000 bytes, over 4096"},
		{"no header name", HTTPMatch{Header: []HeaderMatch{{Present: true}}}, "Header[0].Name is empty"},
		{"two ways", HTTPMatch{Header: []HeaderMatch{{Name: "x", Present: true}, {Name: "x", Exact: "a", Suffix: "b"}}}, "Header[1] says 2 ways to match"},
		{"bad header regex", HTTPMatch{Header: []HeaderMatch{{Name: "x", Regex: "["}}}, "Header[0].Regex is no RE2"},
		{"no query name", HTTPMatch{QueryParam: []QueryMatch{{Present: true}}}, "QueryParam[0].Name is empty"},
		{"two query ways", HTTPMatch{QueryParam: []QueryMatch{{Name: "q", Exact: "a", Regex: "b"}}}, "QueryParam[0] says 2 ways"},
		{"bad query regex", HTTPMatch{QueryParam: []QueryMatch{{Name: "q", Regex: `\8`}}}, "QueryParam[0].Regex is no RE2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e, _, err := New(routes(&tc.match), Options{})
			if e != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestChainErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		spoil func(*Chain)
		of    *Chain
		want  string
	}{
		{"no start", func(c *Chain) { c.StartNode = "x" }, split(100), `StartNode "x" is not in Nodes`},
		{"unknown start", func(c *Chain) { c.Nodes["splitter:web"].Type = "gate" }, split(100), `of type "gate"`},
		{"no splits", func(c *Chain) { c.Nodes["splitter:web"].Splits = nil }, split(100), "has no splits"},
		{"null split", func(c *Chain) { c.Nodes["splitter:web"].Splits[0] = nil }, split(100), "Splits[0] is null"},
		{"all zero", func(*Chain) {}, split(0, 0), "all weights are 0"},
		{"negative weight", func(*Chain) {}, split(-1, 101), "Splits[0].Weight is -1"},
		{"huge weight", func(*Chain) {}, split(1, 101), "Splits[1].Weight is 101"},
		{"split in a circle", func(c *Chain) { c.Nodes["splitter:web"].Splits[0].NextNode = "splitter:web" }, split(100), "is not a resolver"},
		{"split to nowhere", func(c *Chain) { c.Nodes["splitter:web"].Splits[0].NextNode = "x" }, split(100), `"x" is not a resolver`},
		{"no resolver", func(c *Chain) { c.Nodes["resolver:v1.web"].Resolver = nil }, split(100), "has no Resolver"},
		{"no target", func(c *Chain) { delete(c.Targets, "v1.web") }, split(100), `Target "v1.web" is not in Targets`},
		{"null target", func(c *Chain) { c.Targets["v1.web"] = nil }, split(100), "is not in Targets"},
		{"no failover target", func(c *Chain) { c.Nodes["resolver:v1.web"].Resolver.Failover = &Failover{Targets: []string{"x"}} }, split(100), `Failover.Targets[0] "x" is not in Targets`},
		{"no routes", func(c *Chain) { c.Nodes["router:web"].Routes = nil }, routes(), "has 0 routes"},
		{"null route", func(c *Chain) { c.Nodes["router:web"].Routes[0] = nil }, routes(), "Routes[0] is null"},
		{"route in a circle", func(c *Chain) { c.Nodes["router:web"].Routes[0].NextNode = "router:web" }, routes(), `leads to a node of type "router"`},
		{"route to nowhere", func(c *Chain) { c.Nodes["router:web"].Routes[0].NextNode = "x" }, routes(), `Routes[0].NextNode "x"`},
		{"too many routes", func(c *Chain) {
			n := c.Nodes["router:web"]
			for len(n.Routes) <= maxRoutes {
				n.Routes = append(n.Routes, n.Routes[0])
			}
		}, routes(), "routes; 1 to 4096 can be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.spoil(tc.of)
			e, _, err := New(tc.of, Options{})
			if e != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	if _, _, err := New(nil, Options{}); err == nil {
		t.Error("no chain is no error")
	}
}

// Every field that is not honoured, or honoured otherwise than written, is told.
func TestProblems(t *testing.T) {
	t.Parallel()
	dest := func(d RouteDestination) *Chain {
		c := routes(&HTTPMatch{PathPrefix: "/a"})
		*c.Nodes[c.StartNode].Routes[0].Definition.Destination = d
		return c
	}
	target := func(change func(*Target)) *Chain {
		c := split(100)
		change(c.Targets["v1.web"])
		return c
	}
	lb := func(l LoadBalancer) *Chain {
		c := split(100)
		c.Nodes["splitter:web"].LoadBalancer = &l
		return c
	}
	edit := func(name, value string) *Chain {
		return dest(RouteDestination{RequestHeaders: &HeaderModifiers{Set: map[string]string{name: value}}})
	}
	grpcEdit := edit("grpc-timeout", "1S")
	grpcEdit.Protocol = "grpc"
	agent := routes(&HTTPMatch{Header: []HeaderMatch{{Name: "User-Agent", Present: true}}})
	agent.Protocol = "grpc"
	failover := func(p FailoverPolicy) *Chain {
		c := split(100)
		c.Nodes["resolver:v1.web"].Resolver.Failover = &Failover{Targets: []string{"v1.web"}, Policy: &p}
		return c
	}
	timeout := split(100)
	timeout.Nodes["resolver:v1.web"].Resolver.RequestTimeout = 1
	for _, tc := range []struct {
		name string
		c    *Chain
		opt  Options
		want string // beginning of the one problem; empty: none
	}{
		{"idle timeout", dest(RouteDestination{IdleTimeout: 1}), Options{}, "service-router/web: Routes[0].Destination.IdleTimeout: "},
		{"idle timeout that is honoured", dest(RouteDestination{IdleTimeout: 1}), Options{IdleTimeout: true}, ""},
		{"variable", edit("x", "a%START_TIME%"), Options{}, "service-router/web: Routes[0].Destination.RequestHeaders.Set[x]: the value has a variable"},
		{"lone percent", edit("x", "50%"), Options{}, "service-router/web: Routes[0].Destination.RequestHeaders.Set[x]: the value has a variable"},
		{"escaped percent", edit("x", "50%%"), Options{}, ""},
		{"control bytes", edit("x", "a\r\nb: c"), Options{}, "service-router/web: Routes[0].Destination.RequestHeaders.Set[x]: the value has control bytes"},
		{"pseudo-header", edit(":path", "/"), Options{}, "service-router/web: Routes[0].Destination.RequestHeaders.Set[:path]: pseudo"},
		{"no header name", edit("a b", "/"), Options{}, "service-router/web: Routes[0].Destination.RequestHeaders.Set[a b]: it is no header"},
		{"gRPC's header", grpcEdit, Options{}, "service-router/web: Routes[0].Destination.RequestHeaders.Set[grpc-timeout]: the header is gRPC's"},
		{"broken rewrite", dest(RouteDestination{PrefixRewrite: "/%zz/"}), Options{}, "service-router/web: Routes[0].Destination.PrefixRewrite: it has a broken escape"},
		{"unknown condition", dest(RouteDestination{RetryOn: []string{"5xx", "full-moon"}}), Options{}, "service-router/web: Routes[0].Destination.RetryOn: condition full-moon"},
		{"retries without condition", dest(RouteDestination{NumRetries: 2}), Options{}, "service-router/web: Routes[0].Destination.NumRetries: without RetryOn"},
		{"many retries", dest(RouteDestination{NumRetries: 1000, RetryOn: []string{"5xx"}}), Options{}, "service-router/web: Routes[0].Destination.NumRetries: it is taken for 99"},
		{"case of a regex", routes(&HTTPMatch{PathRegex: "/a", CaseInsensitive: true}), Options{}, "service-router/web: Routes[0].Match.HTTP.CaseInsensitive: "},
		{"header without a way", routes(&HTTPMatch{Header: []HeaderMatch{{Name: "x"}}}), Options{}, "service-router/web: Routes[0].Match.HTTP.Header[0]: it says no way"},
		{"query without a way", routes(&HTTPMatch{QueryParam: []QueryMatch{{Name: "x"}}}), Options{}, "service-router/web: Routes[0].Match.HTTP.QueryParam[0]: it says no way"},
		{"unknown pseudo-header", routes(&HTTPMatch{Header: []HeaderMatch{{Name: ":scheme", Present: true}}}), Options{}, "service-router/web: Routes[0].Match.HTTP.Header[0].Name: "},
		{"user-agent of gRPC", agent, Options{}, "service-router/web: Routes[0].Match.HTTP.Header[0].Name: gRPC adds"},
		{"gateway", target(func(t *Target) { t.MeshGateway.Mode = "local" }), Options{}, "service-resolver/web: Targets[v1.web].MeshGateway.Mode: mode local"},
		{"gateway that is used", target(func(t *Target) { t.MeshGateway.Mode = "local" }), Options{MeshGateways: true}, ""},
		{"no gateway", target(func(t *Target) { t.MeshGateway.Mode = "none" }), Options{}, ""},
		{"external", target(func(t *Target) { t.External = true }), Options{}, "service-defaults/web: Targets[v1.web].External: "},
		{"namespace", target(func(t *Target) { t.Namespace = "other" }), Options{}, "service-resolver/web: Targets[v1.web].Namespace: namespace other"},
		{"failover mode", failover(FailoverPolicy{Mode: "order-by-locality"}), Options{}, "service-resolver/web: Failover.Policy.Mode: order-by-locality is not done"},
		{"failover in order", failover(FailoverPolicy{Mode: "sequential"}), Options{}, ""},
		{"failover regions", failover(FailoverPolicy{Regions: []string{"r"}}), Options{}, "service-resolver/web: Failover.Policy.Regions: "},
		{"unknown policy", lb(LoadBalancer{Policy: "best"}), Options{}, "service-resolver/web: LoadBalancer.Policy: policy best is not known"},
		{"hash without hashing", lb(LoadBalancer{Policy: "random", HashPolicies: []HashPolicy{{SourceIP: true}}}), Options{}, "service-resolver/web: LoadBalancer.HashPolicies: policy random does not hash"},
		{"unknown hash field", lb(LoadBalancer{Policy: "maglev", HashPolicies: []HashPolicy{{Field: "moon", FieldValue: "x"}}}), Options{}, "service-resolver/web: LoadBalancer.HashPolicies[0].Field: field moon"},
		{"empty hash field", lb(LoadBalancer{Policy: "maglev", HashPolicies: []HashPolicy{{Field: "header"}}}), Options{}, "service-resolver/web: LoadBalancer.HashPolicies[0].FieldValue: "},
		{"resolver's timeout as Envoy", timeout, Options{Profile: ConsulProfile()}, "service-resolver/web: RequestTimeout: it has no effect behind"},
		{"resolver's timeout", timeout, Options{}, ""},
		{"guard without guard", split(50, 50), Options{Policy: Policy{Guard: Objective{MaxErrors: 0.1}}}, "service-defaults/web: Meta[weft-guard-max-errors]: the caller has no guard"},
		{"unknown baseline", split(50, 50), Options{Guard: NewGuard(GuardConfig{}), Policy: Policy{Guard: Objective{MaxErrors: 0.1, Baseline: "v9"}}}, "service-defaults/web: Meta[weft-guard-baseline]: no split leads to subset v9"},
		{"unknown active", split(50, 50), Options{Policy: Policy{Active: "v9"}}, "service-defaults/web: Meta[weft-active-subset]: no split of the chain"},
		{"bad sticky", split(50, 50), Options{Policy: Policy{Sticky: []string{"moon"}}}, "service-defaults/web: Policy.Sticky[0]: want header:NAME"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, bad, err := New(tc.c, tc.opt)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tc.want == "" && len(bad) > 0:
				t.Errorf("problems: %v", bad)
			case tc.want != "" && (len(bad) != 1 || !strings.HasPrefix(bad[0].String(), tc.want)):
				t.Errorf("problems: %v, want one that begins with %q", bad, tc.want)
			}
		})
	}
}

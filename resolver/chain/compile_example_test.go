package chain_test

import (
	"fmt"

	"github.com/weft-mesh/weft/resolver/chain"
)

// The entries of a service can be read and compiled in a test of one's own.
func ExampleEntrySet_Compile() {
	set, err := chain.Load("testdata/canary")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range set.Problems() {
		fmt.Println(p)
	}
	c, err := set.Compile("web", chain.CompileConfig{Datacenter: "aws"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Protocol, c.StartNode)
	for _, s := range c.Nodes[c.StartNode].Splits {
		r := c.Nodes[s.NextNode].Resolver
		fmt.Println(s.Weight, r.Target, r.ConnectTimeout, r.Failover.Targets)
	}

	// A change that Consul would refuse is refused.
	_, err = set.With(&chain.ServiceDefaults{Name: "web", Protocol: "tcp"})
	fmt.Println(err)
	// Output:
	// testdata/canary/web.hcl: service-defaults/web: Expose: has no effect: a service opens its paths itself
	// http splitter:web.default.default
	// 95 v1.web.default.default.aws 2s [v1.web.default.default.gcp]
	// 5 v2.web.default.default.aws 2s [v2.web.default.default.gcp]
	// resolver/chain: service-splitter "web": routes or splits requests of chain "web", which speaks "tcp"; set Protocol in service-defaults "web" to http, http2 or grpc
}

// What becomes of a request under one's entries can be asserted in a test.
func ExampleLoad() {
	set, err := chain.Load("testdata/canary")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := set.Compile("web", chain.CompileConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	e, problems, err := chain.New(c, chain.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(problems), "problems")
	d := e.Route(&chain.Request{Path: "/items/7", Draw: 0.97, HasDraw: true})
	fmt.Println(d.Plan.Target.ServiceSubset, d.Plan.Target.Datacenter, "then", d.Plan.Failover[0].Datacenter)
	// Output:
	// 0 problems
	// v2 dc1 then gcp
}

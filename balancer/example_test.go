package balancer_test

import (
	"fmt"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

type conn struct{ addr string }

func (c conn) Close() { fmt.Println("close", c.addr) }

func endpoint(cloud, name, addr string, h resolver.Health) *resolver.Endpoint {
	return &resolver.Endpoint{
		ID:       resolver.ID{Source: cloud, Node: name, Instance: "pay"},
		Addr:     addr,
		Locality: resolver.Locality{Cloud: cloud},
		Weight:   1,
		Health:   h,
	}
}

// A transport of one's own: connect what the Balancer wants, report states, pick
// for each attempt, and say how it ended.
func Example() {
	var nodes []*balancer.Node
	b, err := balancer.New(
		balancer.Config{Local: resolver.Locality{Cloud: "aws"}},
		balancer.Connector{Connect: func(n *balancer.Node) balancer.Conn {
			nodes = append(nodes, n)
			return conn{n.Endpoint().Addr}
		}},
	)
	if err != nil {
		panic(err)
	}
	b.Update(&resolver.Snapshot{Service: "pay", State: resolver.Known, Endpoints: []*resolver.Endpoint{
		endpoint("aws", "a", "10.0.0.1:80", resolver.Passing),
	}})
	for _, n := range nodes {
		b.SetState(n, balancer.Ready, nil)
	}
	call := &balancer.Call{}
	start := balancer.Now()
	n, err := b.Pick(call)
	fmt.Println(n.Endpoint().Addr, err)
	n.Done(start, resilience.Outcome{Class: resilience.Success})
	b.Close()
	_, err = b.Pick(call)
	fmt.Println(err)
	// Output:
	// 10.0.0.1:80 <nil>
	// close 10.0.0.1:80
	// balancer: no endpoint: the balancer of service "pay" is closed
}

// Half of the near cloud is critical: with 40 % of spare capacity it keeps 70 %
// of the load, the rest goes to the next cloud.
func ExampleBalancer_Status() {
	b, err := balancer.New(
		balancer.Config{Local: resolver.Locality{Cloud: "aws"}, CloudOrder: []string{"gcp", "azure"}},
		balancer.Connector{Connect: func(*balancer.Node) balancer.Conn { return nil }},
	)
	if err != nil {
		panic(err)
	}
	defer b.Close()
	b.Update(&resolver.Snapshot{Service: "pay", State: resolver.Known, Endpoints: []*resolver.Endpoint{
		endpoint("aws", "a", "10.0.0.1:80", resolver.Passing),
		endpoint("aws", "b", "10.0.0.2:80", resolver.Critical),
		endpoint("azure", "c", "10.2.0.1:80", resolver.Passing),
		endpoint("gcp", "d", "10.1.0.1:80", resolver.Passing),
	}})
	for _, t := range b.Status().Tiers {
		fmt.Printf("%-6s %3.0f %% of the load, %3.0f %% healthy\n", t.Locality.Cloud, 100*t.Share, 100*t.Healthy)
	}
	// Output:
	// aws     70 % of the load,  50 % healthy
	// gcp     30 % of the load, 100 % healthy
	// azure    0 % of the load, 100 % healthy
}

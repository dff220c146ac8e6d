package chain_test

import (
	"fmt"
	"net/http"
	"os"

	"github.com/weft-mesh/weft/resolver/chain"
)

// Where does a request go? The chain is Consul's answer to
// GET /v1/discovery-chain/web.
func Example() {
	f, err := os.Open("testdata/chain-web-router-splitter-subsets-dcfailover.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	c, _, err := chain.Decode(f)
	if err != nil {
		fmt.Println(err)
		return
	}
	e, problems, err := chain.New(c, chain.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range problems {
		fmt.Println("problem:", p)
	}
	req, _ := http.NewRequest("GET", "http://web/v2", nil)
	r := chain.HTTPRequest(req)
	d := e.Route(&r)
	fmt.Println("target:", d.Target.ID)
	for _, t := range d.Failover {
		fmt.Println("failover:", t.ID)
	}
	fmt.Println("timeout:", e.Timeout(d.Plan))
	// Output:
	// problem: service-router/web: Routes[0].Destination.IdleTimeout: the time without a byte is not bounded; use RequestTimeout
	// problem: service-router/web: Routes[0].Destination.RequestHeaders.Set[x-set]: the value has a variable of Envoy (%…%), which only Envoy knows; the header is not changed. Write %% for a percent sign
	// target: v2.web.default.default.aws
	// failover: v1.web.default.default.aws
	// timeout: 2s
}

// A test of config entries: a recorded request must go where it should, and the
// explanation says why when it does not.
func ExampleEvaluator_Explain() {
	f, err := os.Open("testdata/chain-web-router-splitter-subsets-dcfailover.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	c, _, err := chain.Decode(f)
	if err != nil {
		fmt.Println(err)
		return
	}
	e, _, err := chain.New(c, chain.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	draw := 0.95
	recorded := chain.Recorded{Method: "GET", Path: "/items/7", Draw: &draw}
	x := e.Explain(recorded.Request())
	if want := "admin"; x.Decision.Target.Service != want {
		fmt.Printf("it goes to %s, not to %s:\n%s", x.Decision.Target.Service, want, x)
	}
	// Output:
	// it goes to web, not to admin:
	// service web: GET /items/7
	//   route 0: path /admin…, method GET or POST, header x-debug = 1, not header x-user like ^a.*, header x-p present, query env = qa: no, the path is /items/7
	//   route 1: path /v2 in any case: no, the path is /items/7
	//   route 2: path like ^/r/[0-9]+$: no, the path is /items/7
	//   route 3: any path: matches
	//   splitter web.default.default: drawn at 95.00 %
	//     v1.web.default.default.aws: weight 90.00 %, gets 90.00 %
	//   * v2.web.default.default.aws: weight 10.00 %, gets 10.00 %
	//   target v2.web.default.default.aws, where Service.Meta.version matches "^2\\.", passing only
	//   failover 1: v1.web.default.default.aws, where Service.Meta.version matches "^1\\."
	//   request header: add x-canary: 1
	//   timeout 12s, by the chain
	//   connect timeout 3s
	//   balanced by least_request
}

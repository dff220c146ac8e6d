package chain

import (
	"encoding/json"
	"testing"
	"time"
)

// routes makes a chain whose router leads to one resolver per route, by its index:
// "r0", "r1" and so on, and ends in "rest".
func routes(matches ...*HTTPMatch) *Chain {
	c := &Chain{ServiceName: "web", Datacenter: "dc1", Protocol: "http", StartNode: "router:web", Nodes: map[string]*Node{}, Targets: map[string]*Target{}}
	router := &Node{Type: RouterNode, Name: "web"}
	for i, m := range append(matches, nil) {
		name := "rest"
		if i < len(matches) {
			name = "r" + string(rune('0'+i/10)) + string(rune('0'+i%10))
		}
		resolve(c, name, name, "")
		def := &ServiceRoute{Destination: &RouteDestination{Service: name}}
		if m != nil {
			def.Match = &RouteMatch{HTTP: m}
		}
		router.Routes = append(router.Routes, &Route{Definition: def, NextNode: "resolver:" + name})
	}
	c.Nodes[c.StartNode] = router
	return c
}

// resolve adds a resolver and its target.
func resolve(c *Chain, id, service, subset string) {
	c.Nodes["resolver:"+id] = &Node{Type: ResolverNode, Name: id, Resolver: &Resolver{ConnectTimeout: 5 * time.Second, Target: id}}
	c.Targets[id] = &Target{ID: id, Service: service, ServiceSubset: subset, Datacenter: "dc1"}
}

// split is a chain of one splitter over subsets of web, "v1" and so on.
func split(weights ...float32) *Chain {
	c := &Chain{ServiceName: "web", Datacenter: "dc1", Protocol: "http", StartNode: "splitter:web", Nodes: map[string]*Node{}, Targets: map[string]*Target{}}
	n := &Node{Type: SplitterNode, Name: "web"}
	for i, w := range weights {
		subset := "v" + string(rune('1'+i))
		resolve(c, subset+".web", "web", subset)
		n.Splits = append(n.Splits, &Split{Definition: &ServiceSplit{Weight: w, ServiceSubset: subset}, Weight: w, NextNode: "resolver:" + subset + ".web"})
	}
	c.Nodes[c.StartNode] = n
	return c
}

func evaluator(t testing.TB, c *Chain, opt Options) *Evaluator {
	t.Helper()
	e, bad, err := New(c, opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(bad) > 0 {
		t.Fatalf("problems: %v", bad)
	}
	return e
}

func TestRecordKeepsWhatIsRead(t *testing.T) {
	t.Parallel()
	c := routes(&HTTPMatch{Header: []HeaderMatch{{Name: "X-Debug", Exact: "1"}, {Name: "Authorization", Prefix: "Bearer"}}})
	e := evaluator(t, c, Options{Policy: Policy{Sticky: []string{"cookie:sid"}}})
	r := Recorded{Method: "PUT", Path: "/a", Query: "b=c", Authority: "web", Key: "k", Header: map[string][]string{
		"X-DEBUG": {"1", "2"}, "authorization": {"Bearer secret"}, "Cookie": {"token=secret; sid=7"}, "x-other": {"secret"},
	}}.Request()
	r.Draw, r.HasDraw = 0.25, true
	got, err := json.Marshal(e.Record(r))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"method":"PUT","path":"/a","query":"b=c","authority":"web","key":"k","header":{"authorization":["Bearer …"],"cookie":["sid=7"],"x-debug":["1","2"]},"draw":0.25}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back Recorded
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if q := back.Request(); q.Draw != 0.25 || !q.HasDraw || e.Route(q).Route != e.Route(r).Route {
		t.Errorf("the record is decided otherwise: %+v", q)
	}
}

func TestRecordedDefaults(t *testing.T) {
	t.Parallel()
	q := Recorded{Path: "/"}.Request()
	if q.Method != "GET" || q.HasDraw || q.Header.Values("x", "X") != nil {
		t.Errorf("got %+v", q)
	}
}

package mesh

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

// Lanes wait for the marks of sources that answer, and for no others.
func TestUndecided(t *testing.T) {
	t.Parallel()
	ep := func(source, service string, in, out string) *resolver.Endpoint {
		e := &resolver.Endpoint{ID: resolver.ID{Source: source, Instance: service}, Service: service}
		if in+out != "" {
			e.Marks = &resolver.Marks{In: []string{in}, Out: []string{out}}
		}
		return e
	}
	status := func(source string, s resolver.State, h *resolver.Held) resolver.SourceStatus {
		return resolver.SourceStatus{Source: source, State: s, Held: h}
	}
	sure := []mark{{service: "web", filter: "f", sure: true}}
	both := []resolver.SourceStatus{status("a", resolver.Known, nil), status("b", resolver.Known, nil)}
	for name, tc := range map[string]struct {
		state   resolver.State
		sources []resolver.SourceStatus
		eps     []*resolver.Endpoint
		marks   []mark
		want    bool
	}{
		"all have them":               {resolver.Known, both, []*resolver.Endpoint{ep("a", "web", "f", ""), ep("b", "web", "", "f")}, sure, false},
		"one source has none":         {resolver.Known, both, []*resolver.Endpoint{ep("a", "web", "f", ""), ep("b", "web", "", "")}, sure, true},
		"it has others":               {resolver.Known, both, []*resolver.Endpoint{ep("a", "web", "f", ""), ep("b", "web", "g", "h")}, sure, true},
		"it is lost":                  {resolver.Stale, []resolver.SourceStatus{both[0], status("b", resolver.Stale, nil)}, []*resolver.Endpoint{ep("a", "web", "f", ""), ep("b", "web", "", "")}, sure, false},
		"its empty answer is held":    {resolver.Known, []resolver.SourceStatus{both[0], status("b", resolver.Known, &resolver.Held{})}, []*resolver.Endpoint{ep("b", "web", "", "")}, sure, false},
		"some endpoints are held":     {resolver.Known, []resolver.SourceStatus{status("a", resolver.Known, &resolver.Held{Reported: 1})}, []*resolver.Endpoint{ep("a", "web", "", ""), ep("a", "web", "f", "")}, sure, false},
		"no endpoints":                {resolver.Known, both, nil, sure, false},
		"another service":             {resolver.Known, both, []*resolver.Endpoint{ep("a", "db", "", "")}, sure, false},
		"a source that cannot":        {resolver.Known, both, []*resolver.Endpoint{ep("a", "web", "", "")}, []mark{{service: "web", filter: "f"}}, false},
		"a single source":             {resolver.Known, nil, []*resolver.Endpoint{ep("a", "web", "", "")}, sure, true},
		"a single source that is old": {resolver.Stale, nil, []*resolver.Endpoint{ep("a", "web", "", "")}, sure, false},
	} {
		if got := undecided(&resolver.Snapshot{Service: "web", State: tc.state, Sources: tc.sources, Endpoints: tc.eps}, tc.marks); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// noting is a catalog that notes what it was asked for last.
type noting struct {
	resolver.Catalog
	last map[string][]string
}

func (n *noting) Mark(service string, filters []string) error {
	n.last[service] = filters
	return nil
}

// The catalog is asked for what all routers need, and for no more when one ends.
func TestMarksOfRouters(t *testing.T) {
	t.Parallel()
	c := &noting{last: map[string][]string{}}
	m := marks{catalog: c}
	a, b := &router{}, &router{}
	m.keep(a, nil) // has asked for nothing
	x, y := mark{service: "web", filter: "x"}, mark{service: "web", filter: "y"}
	for _, ask := range []struct {
		r *router
		mark
	}{{a, x}, {b, y}, {a, y}, {a, x}} {
		if err := m.ask(ask.r, ask.mark); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want ...string) {
		t.Helper()
		got := c.last["web"]
		if len(got) != len(want) {
			t.Fatalf("%s: %q, want %q", when, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
	}
	check("all", "x", "y")
	m.keep(a, []mark{y})
	check("a keeps one", "y")
	m.keep(b, nil)
	check("b ends", "y")
	m.keep(a, nil)
	check("all end")
	if len(m.by) != 0 {
		t.Errorf("%d routers are remembered", len(m.by))
	}
	if err := (&marks{catalog: c.Catalog}).ask(a, x); err != resolver.ErrNoMarks {
		t.Errorf("of a catalog that cannot: %v", err)
	}
}

// A catalog that cannot decide a filter is told of, and the subset is empty: calls go to
// the next target without waiting for marks that never come.
func TestCatalogWithoutMarks(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws")
	ent := newEntries(t, webIsHTTP, `{"Kind":"service-resolver","Name":"web","DefaultSubset":"checked","Subsets":{
		"checked":{"Filter":"Checks.Status == passing"},"v2":{"Filter":"Service.Meta.version == v2"}},"Failover":{"checked":{"ServiceSubset":"v2"}}}`)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	for range 5 {
		if who, err := get(bound(t), m, "http://web/"); err != nil || who != "web/v2@aws" {
			t.Fatalf("%s, %v", who, err)
		}
	}
	r := m.Routes()[0]
	if len(r.Problems) != 1 || r.Problems[0].Field != "Subsets[checked].Filter" || !strings.Contains(r.Problems[0].Why, "does not carry Checks.Status") {
		t.Errorf("the status is %v, %v", r.Problems, r.Err)
	}
}

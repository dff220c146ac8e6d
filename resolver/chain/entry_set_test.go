package chain

import (
	"reflect"
	"strings"
	"testing"
)

func entries(t testing.TB, texts ...string) []Entry {
	t.Helper()
	got, _, err := DecodeEntries([]byte("["+strings.ReplaceAll(strings.Join(texts, ","), "~", "")+"]"), JSON)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSetNeverChanges(t *testing.T) {
	t.Parallel()
	mine := &ServiceRouter{Name: "web", Routes: []ServiceRoute{{Match: &RouteMatch{HTTP: &HTTPMatch{Methods: []string{"get"}}}}}}
	set, err := NewEntrySet(append(entries(t, httpDefaults("web")...), mine)...)
	if err != nil {
		t.Fatal(err)
	}
	if mine.Routes[0].Match.HTTP.Methods[0] != "get" {
		t.Error("the caller's entry was changed")
	}
	mine.Routes[0].Match.HTTP.Methods[0] = "bad"
	c, err := set.Compile("web", CompileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	got := c.Nodes[c.StartNode].Routes[0].Definition.Match.HTTP.Methods
	if got[0] != "GET" {
		t.Errorf("methods %q", got)
	}
	got[0] = "bad"
	if again, _ := set.Compile("web", CompileConfig{}); again.Nodes[again.StartNode].Routes[0].Definition.Match.HTTP.Methods[0] != "GET" {
		t.Error("a chain shares memory with its set")
	}
	before := len(set.Entries())
	if _, err := set.With(&ServiceDefaults{Name: "web", Protocol: "tcp"}); err == nil {
		t.Error("a router over tcp was accepted")
	}
	next, err := set.With(&ServiceDefaults{Name: "api"})
	if err != nil || len(next.Entries()) != before+1 || len(set.Entries()) != before {
		t.Errorf("%d entries after %d, %v", len(next.Entries()), before, err)
	}
}

func TestSetRefusesWhole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		entries []Entry
		want    string
	}{
		"nil":       {[]Entry{nil}, "no config entry"},
		"typed nil": {[]Entry{(*ServiceRouter)(nil)}, "no config entry"},
		"twice":     {[]Entry{&ServiceResolver{Name: "a"}, &ServiceResolver{Name: "A"}}, `service-resolver "A": stands twice`},
		"far off": {
			append(entries(t, httpDefaults("a", "b")...), &ServiceDefaults{Name: "c"},
				&ServiceResolver{Name: "b", Redirect: &Redirect{Service: "c"}}, &ServiceRouter{Name: "a", Routes: []ServiceRoute{{Destination: &RouteDestination{Service: "b"}}}}),
			`service-defaults "c": Protocol: is "tcp"`,
		},
	} {
		if _, err := NewEntrySet(tc.entries...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var many []Entry
	for range maxErrors + 5 {
		many = append(many, &ServiceSplitter{Name: "a"})
	}
	if _, err := NewEntrySet(many...); err == nil || strings.Count(err.Error(), "\n") != maxErrors || !strings.Contains(err.Error(), "and 5 more") {
		t.Errorf("%v", err)
	}
}

func TestWithout(t *testing.T) {
	t.Parallel()
	set, err := NewEntrySet(entries(t, routeEntry(`{"Destination": {"Service": "web"}}`)...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Without(KindServiceDefaults, "web"); err == nil || !strings.Contains(err.Error(), `service-router "web"`) {
		t.Errorf("what a router needs was taken away: %v", err)
	}
	if same, err := set.Without(KindServiceRouter, "api"); err != nil || same != set {
		t.Errorf("%v", err)
	}
	next, err := set.Without(KindServiceRouter, "WEB")
	if err == nil {
		next, err = next.Without(KindServiceDefaults, "web")
	}
	if err != nil || len(next.Entries()) != 0 {
		t.Errorf("%v, %v", next.Entries(), err)
	}
}

func TestNoEntries(t *testing.T) {
	t.Parallel()
	for _, set := range []*EntrySet{nil, {}} {
		c, err := set.Compile("web", CompileConfig{})
		if err != nil || !c.Default || c.Protocol != "tcp" || c.StartNode != "resolver:web.default.default.dc1" || set.Problems() != nil || set.ServiceDefaults("web") != nil {
			t.Errorf("%+v, %v", c, err)
		}
	}
	for _, cfg := range []CompileConfig{{OverrideMeshGateway: MeshGateway{Mode: "fast"}}} {
		if _, err := (&EntrySet{}).Compile("web", cfg); err == nil {
			t.Error("a bad override was accepted")
		}
	}
	if _, err := (&EntrySet{}).Compile("", CompileConfig{}); err == nil {
		t.Error("an empty name was accepted")
	}
}

func TestMergeHeaders(t *testing.T) {
	t.Parallel()
	// Consul 1.21 ends with a panic here, since the outer edits have no Add.
	set, err := NewEntrySet(append(entries(t, httpDefaults("a", "b", "c")...),
		&ServiceSplitter{Name: "a", Splits: []ServiceSplit{
			{Weight: 50, Service: "b", RequestHeaders: &HeaderModifiers{Set: map[string]string{"x": "outer", "y": "1"}, Remove: []string{"z"}},
				ResponseHeaders: &HeaderModifiers{Set: map[string]string{"x": "outer"}}},
			{Weight: 50},
		}},
		&ServiceSplitter{Name: "b", Splits: []ServiceSplit{{Weight: 33.33}, {Weight: 66.67, Service: "c",
			RequestHeaders:  &HeaderModifiers{Add: map[string]string{"w": "1"}, Set: map[string]string{"x": "inner"}, Remove: []string{"z", "v"}},
			ResponseHeaders: &HeaderModifiers{Set: map[string]string{"x": "inner"}},
		}}},
	)...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := set.Compile("a", CompileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	splits := c.Nodes[c.StartNode].Splits
	var weights []float32
	for _, s := range splits {
		weights = append(weights, s.Weight)
	}
	if !reflect.DeepEqual(weights, []float32{16.66, 33.34, 50}) && !reflect.DeepEqual(weights, []float32{16.67, 33.34, 50}) {
		t.Errorf("weights %v", weights)
	}
	want := &HeaderModifiers{Add: map[string]string{"w": "1"}, Set: map[string]string{"x": "inner", "y": "1"}, Remove: []string{"z", "v"}}
	if got := splits[1].Definition.RequestHeaders; !reflect.DeepEqual(got, want) {
		t.Errorf("request headers %+v", got)
	}
	if got := splits[1].Definition.ResponseHeaders; !reflect.DeepEqual(got.Set, map[string]string{"x": "outer"}) {
		t.Errorf("response headers %+v", got)
	}
}

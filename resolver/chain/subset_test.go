package chain

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

func endpoint(node, id string, meta map[string]string, tags ...string) *resolver.Endpoint {
	return &resolver.Endpoint{
		ID: resolver.ID{Source: "aws", Node: node, Instance: id}, Service: "web", Addr: "10.0.0.1:8080",
		Locality: resolver.Locality{Cloud: "aws", Region: "eu-west-1"}, Weight: 1, Metadata: meta, Tags: tags,
	}
}

func filtered(filter string) *Target {
	return &Target{ID: "v1.web", Service: "web", ServiceSubset: "v1", Datacenter: "dc1", Subset: Subset{Filter: filter}}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	e := endpoint("n1", "web-1", map[string]string{"version": "1.2", "empty": "", "a-b": "x", "n": "5", "path": "/a/b"}, "green", "eu")
	bare := endpoint("n2", "web-2", nil)
	bare.Addr = "[::1]:80"
	for _, tc := range []struct {
		filter     string
		full, none bool // for e and for bare
	}{
		{"", true, true},
		{"  ", true, true},
		{`Service.Meta.version == "1.2"`, true, false},
		{`Service.Meta.version == 1.2`, true, false},
		{`Service.Meta.version != "1.2"`, false, true},
		{`Service.Meta.version matches "^1\\."`, true, true}, // a missing key matches, as in Consul
		{`Service.Meta.version not matches "^1\\."`, false, true},
		{`Service.Meta.version contains "1."`, true, false},
		{`Service.Meta.version not contains "1."`, false, true},
		{`"1." in Service.Meta.version`, true, false},
		{`"9" not in Service.Meta.version`, true, true},
		{`Service.Meta["a-b"] == "x"`, true, false},
		{`Service.Meta.empty == ""`, true, false},
		{`Service.Meta.path == "/a/b"`, true, false},
		{`"/a" in Service.Meta.path`, true, false},
		{`Service.Meta is empty`, false, true},
		{`Service.Meta is not empty`, true, false},
		{`Service.Meta contains "version"`, true, false},
		{`"nope" in Service.Meta`, false, false},
		{`Service.Tags contains "green"`, true, false},
		{`"gree" in Service.Tags`, false, false},
		{`"blue" not in Service.Tags`, true, true},
		{`Service.Tags is empty`, false, true},
		{`Service.Tags is not empty`, true, false},
		{`Service.ID == "web-1"`, true, false},
		{`Service.ID matches "-[0-9]$"`, true, true},
		{`Service.Service == web`, true, true},
		{`Service.Kind == ""`, true, true},
		{`Service.Port == 8080`, true, false},
		{`Service.Port != "0x1F90"`, false, true},
		{`Service.Address == "10.0.0.1"`, true, false},
		{`Service.Address contains "::"`, false, true},
		{`Node.Node == "n1"`, true, false},
		{`Node.Datacenter == "dc1"`, true, true},
		{`Node.PeerName == ""`, true, true},
		{`Service.Meta.version == "1.2" and "green" in Service.Tags`, true, false},
		{`Service.Meta.version == "9" or Service.Tags is empty`, false, true},
		{`not (Service.Meta.version == "1.2")`, false, true},
		{`not not "eu" in Service.Tags`, true, false},
		{`(Service.ID == "a" or Service.ID == "web-1") and not "blue" in Service.Tags`, true, false},
	} {
		t.Run(tc.filter, func(t *testing.T) {
			t.Parallel()
			f, bad := NewFilter(filtered(tc.filter), Residency{})
			dialled := strings.Contains(tc.filter, "Service.Port") || strings.Contains(tc.filter, "Service.Address")
			better := dialled || strings.Contains(tc.filter, "Service.Service") || strings.Contains(tc.filter, "Service.Kind") ||
				strings.Contains(tc.filter, "Datacenter") || strings.Contains(tc.filter, "PeerName")
			if f.Remote() != better || (len(bad) > 0) != dialled {
				t.Fatalf("remote %v, problems %v", f.Remote(), bad)
			}
			if f.Match(e) != tc.full || f.Match(bare) != tc.none {
				t.Errorf("got %v and %v, want %v and %v", f.Match(e), f.Match(bare), tc.full, tc.none)
			}
		})
	}
}

// What only the source of an endpoint can decide matches by its marks, and nothing
// without; a problem says so.
func TestFilterOfSource(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ filter, want string }{
		{`Node.Meta.rack == "7"`, "does not carry Node.Meta"},
		{`Node.Address == "10.0.0.1"`, "does not carry Node.Address"},
		{`Checks.Status == "passing"`, "does not carry Checks.Status"},
		{`Checks is empty`, "does not carry Checks"},
		{`Service.TaggedAddresses.wan.Port != 443`, "does not carry Service.TaggedAddresses.Port"},
		{`Service.Weights.Passing == 1`, "does not carry Service.Weights.Passing"},
		{`Service.ID == "web-1" and Node.Meta.rack == "7"`, "does not carry Node.Meta"},
	} {
		t.Run(tc.filter, func(t *testing.T) {
			t.Parallel()
			e := endpoint("n1", "web-1", map[string]string{"version": "1"})
			f, bad := NewFilter(filtered(tc.filter), Residency{})
			if len(bad) != 1 || bad[0].Kind != kindResolver || bad[0].Name != "web" || bad[0].Field != "Subsets[v1].Filter" ||
				!strings.Contains(bad[0].Why, tc.want) || !strings.Contains(bad[0].Why, "matches nothing") {
				t.Errorf("problems %v, want %q", bad, tc.want)
			}
			if !f.Remote() || f.Match(e) || f.Expression() != tc.filter {
				t.Errorf("remote %v, matches %v", f.Remote(), f.Match(e))
			}
			in, out := *e, *e
			in.Marks = &resolver.Marks{In: []string{tc.filter}, Out: []string{"other"}}
			out.Marks = &resolver.Marks{In: []string{"other"}, Out: []string{tc.filter}}
			if !f.Match(&in) || f.Match(&out) {
				t.Errorf("with marks: %v and %v", f.Match(&in), f.Match(&out))
			}
		})
	}
	peer := filtered(`Node.Datacenter == "dc1"`)
	peer.Datacenter, peer.Peer = "", "partner"
	if f, bad := NewFilter(peer, Residency{}); !f.Remote() || len(bad) != 1 {
		t.Errorf("a peer's datacenter: %v", bad)
	}
	// The source knows that a sidecar is one, and an instance's own address.
	e := endpoint("n1", "web-1", nil)
	e.Marks = &resolver.Marks{In: []string{`Service.Kind != ""`, `Service.Port == 1`}}
	for _, expr := range e.Marks.In {
		if f, _ := NewFilter(filtered(expr), Residency{}); !f.Match(e) {
			t.Errorf("%s: the mark of the source does not count", expr)
		}
	}
}

// What Consul refuses matches nothing, whoever marks what.
func TestFilterRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ filter, want string }{
		{`Service.Nope == 1`, "no field Service.Nope"},
		{`Service.Meta.a.b == 1`, "no field Service.Meta.a.b"},
		{`Service == "web"`, "does not fit Service"},
		{`Service.ID is empty`, "does not fit Service.ID"},
		{`Service.Meta.version is empty`, "does not fit Service.Meta.version"},
		{`Service.Tags == "a"`, "does not fit Service.Tags"},
		{`Service.Port matches "8"`, "does not fit Service.Port"},
		{`Service.Port == "http"`, "is no number"},
		{`Service.Connect.Native == "yes"`, "is not true or false"},
		{`Service.Meta.version matches "("`, "error parsing regexp"},
		{`Service.Meta.version is nil`, "is not known to Consul"},
		{`Service.Meta.a/b == "x"`, "a slash outside of quotes"},
		{`Service.Meta.1 == "x"`, "a number in a selector"},
		{`any Service.Tags as t { t == "a" }`, "not known to Consul"},
		{`"/Service/ID" == "a"`, "no bexpr expression"},
		{`Service.ID ==`, "no bexpr expression"},
		{`((((`, "no bexpr expression"},
		{strings.Repeat("(", 6000) + `Service.ID == "a"` + strings.Repeat(")", 6000), "over 8192"},
		{strings.Repeat("(", 17) + `Service.ID == "a"` + strings.Repeat(")", 17), "nested more than 16 deep"},
		{`Service.ID == "a")`, "a bracket is closed that was not opened"},
		{`Service.ID == "a`, "a quote is not closed"},
	} {
		t.Run(clip(tc.filter), func(t *testing.T) {
			t.Parallel()
			e := endpoint("n1", "web-1", map[string]string{"version": "1"})
			e.Marks = &resolver.Marks{In: []string{tc.filter}}
			f, bad := NewFilter(filtered(tc.filter), Residency{})
			if f.Remote() || f.Match(e) || f.Expression() != tc.filter {
				t.Errorf("remote %v, matches %v", f.Remote(), f.Match(e))
			}
			if len(bad) != 1 || bad[0].Field != "Subsets[v1].Filter" || !strings.Contains(bad[0].Why, tc.want) {
				t.Errorf("problems %v, want %q", bad, tc.want)
			}
		})
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`Service.Meta.version matches "^1\\."`, `not ("a" in Service.Tags and Service.Port != 80)`, `any Service.Tags as t { t == "a" }`, "((((a==b", `Service.Meta["x"] is empty`} {
		f.Add(s)
	}
	e := endpoint("n1", "web-1", map[string]string{"version": "1.2"}, "a")
	f.Fuzz(func(t *testing.T, expr string) {
		filter, bad := NewFilter(filtered(expr), Residency{})
		if filter.Match(e) && len(bad) > 0 && !strings.Contains(bad[0].Why, "dialled") {
			t.Fatal("a filter that is not decided here matches")
		}
		if strings.Contains(expr, ")") { // "a) or (b": another expression in brackets
			return
		}
		opposite, worse := NewFilter(filtered("not ("+expr+")"), Residency{})
		if strings.TrimSpace(expr) != "" && len(bad)+len(worse) == 0 && filter.Match(e) == opposite.Match(e) {
			t.Fatalf("%q and its opposite agree", expr)
		}
	})
}

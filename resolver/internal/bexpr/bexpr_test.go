package bexpr

import (
	"strings"
	"testing"
)

func instance() *Instance {
	in := &Instance{
		Node: Node{Node: "n1", Meta: map[string]string{"rack": "7"}, TaggedAddresses: map[string]string{"wan": "198.51.100.1"}},
		Service: Service{ID: "web-1", Service: "web", Port: 8080, Tags: []string{"a", "b"}, Meta: map[string]string{"path": "/a/b", "n": "1"},
			TaggedAddresses: map[string]Address{"wan": {"203.0.113.1", 443}}, Weights: Weights{10, 1}, Connect: Connect{Native: true}},
		Checks: []Check{{CheckID: "c1", Status: "passing", ServiceTags: []string{"a"}}, {CheckID: "c2", Status: "warning"}},
	}
	in.Service.Proxy.Upstreams = []Upstream{{DestinationName: "db", LocalBindPort: 9191, MeshGateway: MeshGateway{"local"}}}
	return in
}

// What is asked of a list holds if it holds for one of its elements, negated or not.
func TestMatch(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]bool{
		`Checks.Status == "passing"`:                              true,
		`Checks.Status != "passing"`:                              true, // another check
		`not (Checks.Status == "passing")`:                        false,
		`Checks.Status != "passing" and Checks.Status != warning`: true,
		`Checks.Status matches "^crit"`:                           false,
		`Checks.Status not matches "^crit"`:                       true,
		`Checks.ServiceTags contains a`:                           true,
		`Checks.ServiceTags is empty`:                             true, // of the other check
		`Checks is empty`:                                         false,
		`Checks is not empty`:                                     true,
		`Service.Port == 8080`:                                    true,
		`Service.Port == 0x1F90`:                                  false, // refused, see below
		`Service.Port != "0x1F90"`:                                false,
		`Service.Connect.Native == true`:                          true,
		`Service.Connect.Native != T`:                             false,
		`Service.Weights.Passing == 10`:                           true,
		`Service.TaggedAddresses.wan.Port == 443`:                 true,
		`Service.TaggedAddresses.lan.Port != 443`:                 true, // there is none
		`Service.TaggedAddresses.lan.Port == 443`:                 false,
		`wan in Service.TaggedAddresses`:                          true,
		`Node.TaggedAddresses.wan contains "198."`:                true,
		`Node.Meta["rack"] == 7`:                                  true,
		`Node.Meta.none matches "x"`:                              true, // as Consul's version has it
		`Service.Meta.path == "/a/b"`:                             true,
		"Service.Meta.path == `/a/b`":                             true,
		`"/b" in Service.Meta.path`:                               true,
		`Service.Proxy.Upstreams.MeshGateway.Mode == "local"`:     true,
		`Service.Proxy.Upstreams.LocalBindPort == 1`:              false,
		`Service.Proxy.Mode == ""`:                                true,
		`Service.Proxy.Expose.Paths.Path == "/x"`:                 false,
	} {
		f, err := Compile(expr)
		if strings.Contains(expr, "== 0x") {
			if err == nil {
				t.Errorf("%s is accepted", expr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		} else if got := f.Match(instance()); got != want {
			t.Errorf("%s: got %v", expr, got)
		}
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	f, err := Compile(`Service.TaggedAddresses.wan.Port == 1 and not ("a" in Service.Meta.x or Checks.Status == b)`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	f.Reads(func(field string) bool { got = append(got, field); return false })
	if want := "Service.TaggedAddresses.Port Service.Meta Checks.Status"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !f.Reads(func(field string) bool { return field == "Service.Meta" }) {
		t.Error("Reads does not say that it holds")
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{`Checks.Status != "a" or b in Service.Tags`, "a == `\"/x`", `Service.Meta["a.1"].b is empty`, `((a.1 == "/b\\"))`, `Service.TaggedAddresses.x.Port == 1.5`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		c, err := Compile(expr)
		if err != nil {
			return
		}
		if _, err := Parse(expr); err != nil {
			t.Fatalf("%q is compiled and cannot be parsed: %v", expr, err)
		}
		c.Match(&Instance{})
		c.Match(instance())
	})
}

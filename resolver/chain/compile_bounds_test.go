package chain

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestHugeChains has sets that would take for ever, or all memory, in a chainCompiler
// that walks each way.
func TestHugeChains(t *testing.T) {
	t.Parallel()
	ladder := func(n int) []Entry { // with 2^n ways
		list := []Entry{&ProxyDefaults{Config: map[string]any{"protocol": "http"}}}
		for i := range n {
			for _, side := range "ab" {
				list = append(list, &ServiceSplitter{Name: fmt.Sprintf("%c%d", side, i), Splits: []ServiceSplit{
					{Weight: 50, Service: fmt.Sprintf("a%d", i+1)}, {Weight: 50, Service: fmt.Sprintf("b%d", i+1)},
				}})
			}
		}
		return list
	}
	if _, err := NewEntrySet(ladder(13)...); err != nil {
		t.Errorf("8192 splits: %v", err)
	}
	_, err := NewEntrySet(ladder(40)...)
	var e *EntryError
	if !errors.As(err, &e) || e.Kind != KindServiceSplitter || e.Field != "Splits" || !strings.Contains(e.Why, "over 10000") {
		t.Errorf("2^40 splits: %v", err)
	}

	line := []Entry{&ProxyDefaults{Config: map[string]any{"protocol": "http"}}}
	for i := range 3000 {
		line = append(line, &ServiceResolver{Name: fmt.Sprintf("s%d", i), Redirect: &Redirect{Service: fmt.Sprintf("s%d", i+1)}})
	}
	set := &EntrySet{entries: map[entryKey]Entry{}}
	for _, e := range line {
		set.entries[keyOf(e)] = e
	}
	c, err := set.Compile("s0", CompileConfig{})
	if err != nil || c.StartNode != "resolver:s3000.default.default.dc1" {
		t.Errorf("3000 redirects: %v", err)
	}
	set.entries[entryKey{KindServiceResolver, "s3000"}] = &ServiceResolver{Name: "s3000", Redirect: &Redirect{Service: "s0"}}
	if _, err := set.Compile("s0", CompileConfig{}); err == nil || !strings.Contains(err.Error(), "circle") || len(err.Error()) > 500 {
		t.Errorf("a circle of 3000 redirects: %v", err)
	}

	// The set is checked service by service, which adds up.
	if _, err := NewEntrySet(line...); err == nil || !strings.Contains(err.Error(), "over 1048576 steps") {
		t.Errorf("the check of 3000 redirects: %v", err)
	}
	if _, err := NewEntrySet(line[:500]...); err != nil {
		t.Errorf("the check of 500 redirects: %v", err)
	}

	if _, err := NewEntrySet(make([]Entry, maxEntries+1)...); err == nil {
		t.Error("too many entries were accepted")
	}
}

// TestChainOfEach compiles what the Consul test compares by chance.
func TestChainOfEach(t *testing.T) {
	t.Parallel()
	set, err := NewEntrySet(entries(t,
		`{"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}, "MeshGateway": {"Mode": "local"}}`,
		`{"Kind": "service-defaults", "Name": "web", "Protocol": "http", "Meta": {"weft-hedge": "20ms"}}`,
		`{"Kind": "service-resolver", "Name": "web", "DefaultSubset": "v1", "Subsets": {"v1": {"Filter": "Service.Meta.v == 1", "OnlyPassing": true}},
		  "Failover": {"*": {"Targets": [{"Datacenter": "dc2"}, {"Service": "web", "Peer": "gcp"}]}}, "ConnectTimeout": "2s"}`,
	)...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := set.Compile("web", CompileConfig{TrustDomain: "td", PeerLocality: map[string]Locality{"gcp": {Region: "eu"}}})
	if err != nil {
		t.Fatal(err)
	}
	target := func(dc string) *Target {
		name := "v1.web.default." + dc + ".internal.td"
		return &Target{
			ID: "v1.web.default.default." + dc, Service: "web", ServiceSubset: "v1", Namespace: "default", Partition: "default", Datacenter: dc,
			MeshGateway: MeshGateway{"local"}, Subset: Subset{Filter: "Service.Meta.v == 1", OnlyPassing: true}, ConnectTimeout: 2e9, SNI: name, Name: name,
		}
	}
	// Consul takes the resolver of this cluster for that of the peer as well, so the
	// target has the subset, but not in its ID.
	peer := &Target{ID: "web.default.default.external.gcp", Service: "web", ServiceSubset: "v1", Namespace: "default", Partition: "default",
		Peer: "gcp", Locality: &Locality{Region: "eu"}, MeshGateway: MeshGateway{"local"}, ConnectTimeout: 2e9,
		Subset: Subset{Filter: "Service.Meta.v == 1", OnlyPassing: true}}
	want := &Chain{
		ServiceName: "web", Namespace: "default", Partition: "default", Datacenter: "dc1", Protocol: "http",
		ServiceMeta: map[string]string{"weft-hedge": "20ms"}, StartNode: "resolver:v1.web.default.default.dc1",
		Nodes: map[string]*Node{"resolver:v1.web.default.default.dc1": {
			Type: "resolver", Name: "v1.web.default.default.dc1",
			Resolver: &Resolver{ConnectTimeout: 2e9, Target: "v1.web.default.default.dc1",
				Failover: &Failover{Targets: []string{"v1.web.default.default.dc2", peer.ID}}},
		}},
		Targets: map[string]*Target{"v1.web.default.default.dc1": target("dc1"), "v1.web.default.default.dc2": target("dc2"), peer.ID: peer},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", indent(got), indent(want))
	}
}

package chain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample decodes a chain that a real Consul compiled.
func sample(t testing.TB, name string) (*Chain, []Problem) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	c, bad, err := Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return c, bad
}

const (
	webChain     = "chain-web-router-splitter-subsets-dcfailover"
	apiChain     = "chain-api-ringhash-failover-targets-peer"
	legacyChain  = "chain-legacy-redirect-other-dc"
	tcpChain     = "chain-web-post-overrides-tcp"
	defaultChain = "chain-default-no-entries"
)

// lost compares the JSON with what became of it, leaf by leaf.
func lost(at string, from any, to reflect.Value) (missing []string) {
	if d, ok := to.Interface().(time.Duration); ok {
		want := fmt.Sprint(from)
		if s, ok := from.(string); ok {
			p, _ := time.ParseDuration(s)
			want = fmt.Sprint(int64(p))
		}
		if want != fmt.Sprint(int64(d)) {
			return []string{fmt.Sprintf("%s: %v is not %v", at, from, d)}
		}
		return nil
	}
	if to.Kind() == reflect.Pointer {
		to = to.Elem()
	}
	switch from := from.(type) {
	case nil:
		return nil
	case map[string]any:
		for k, v := range from {
			switch {
			case to.Kind() == reflect.Map:
				missing = append(missing, lost(at+"."+k, v, to.MapIndex(reflect.ValueOf(k)))...)
			case k == "AutoVirtualIPs" || k == "ManualVirtualIPs" || k == "TransparentProxy":
			case !to.FieldByName(k).IsValid():
				missing = append(missing, at+"."+k+": there is no such field")
			default:
				missing = append(missing, lost(at+"."+k, v, to.FieldByName(k))...)
			}
		}
	case []any:
		if to.Len() != len(from) {
			return []string{fmt.Sprintf("%s: %d of %d elements", at, to.Len(), len(from))}
		}
		for i, v := range from {
			missing = append(missing, lost(fmt.Sprintf("%s[%d]", at, i), v, to.Index(i))...)
		}
	default:
		if fmt.Sprint(from) != fmt.Sprint(to.Interface()) {
			missing = append(missing, fmt.Sprintf("%s: %v is not %v", at, from, to.Interface()))
		}
	}
	return missing
}

func TestDecodeLosesNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{webChain, apiChain, legacyChain, tcpChain, defaultChain} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, bad := sample(t, name)
			if len(bad) > 0 {
				t.Errorf("problems: %v", bad)
			}
			data, _ := os.ReadFile(filepath.Join("testdata", name+".json"))
			d := json.NewDecoder(bytes.NewReader(data))
			d.UseNumber()
			var doc struct{ Chain any }
			if err := d.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			if missing := lost("Chain", doc.Chain, reflect.ValueOf(c)); len(missing) > 0 {
				t.Errorf("lost:\n%s", strings.Join(missing, "\n"))
			}
		})
	}
}

func TestDecodeFields(t *testing.T) {
	t.Parallel()
	web, _ := sample(t, webChain)
	api, _ := sample(t, apiChain)
	tcp, _ := sample(t, tcpChain)
	split := web.Nodes["splitter:web.default.default"].Splits
	dest := web.Nodes[web.StartNode].Routes[0].Definition.Destination
	for _, tc := range []struct {
		what      string
		got, want any
	}{
		{"RequestTimeout in nanoseconds", tcp.Nodes[tcp.StartNode].Resolver.RequestTimeout, 12 * time.Second},
		{"RequestTimeout as text", dest.RequestTimeout, 4 * time.Second},
		{"IdleTimeout", dest.IdleTimeout, 30 * time.Second},
		{"peer", api.Targets["api.default.default.external.partner"].Peer, "partner"},
		{"peer has no datacenter", api.Targets["api.default.default.external.partner"].Datacenter, ""},
		{"split's response header", split[0].Definition.ResponseHeaders.Set["x-split"], "v1"},
		{"split's request header", split[1].Definition.RequestHeaders.Add["x-canary"], "1"},
		{"meta", web.ServiceMeta["owner"], "team-a"},
		{"cookie's TTL", api.Nodes[api.StartNode].LoadBalancer.HashPolicies[1].CookieConfig.TTL, time.Hour},
		{"customization", tcp.CustomizationHash, "dfccd84a"},
		{"ring", api.Nodes[api.StartNode].LoadBalancer.RingHashConfig.MaximumRingSize, uint64(2048)},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.what, tc.got, tc.want)
		}
	}
}

func TestDecodeProblems(t *testing.T) {
	t.Parallel()
	in := `{"Chain":{"ServiceName":"web","EnvoyExtensions":[{"Name":"lua"}],"Shiny":1,"Old":null,"None":[],
		"Nodes":{"resolver:x":{"Type":"resolver","Resolver":{"Target":"x","Hurry":true}}},
		"Targets":{"x":{"ID":"x","Locality":{"Region":"r","Zone":"z"},"PrioritizeByLocality":{"Mode":"failover"},"TransparentProxy":{"OutboundListenerPort":1}}}}}`
	c, bad, err := Decode(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if l := c.Targets["x"].Locality; l == nil || *l != (Locality{"r", "z"}) {
		t.Errorf("locality is %v", l)
	}
	var fields []string
	for _, p := range bad {
		if p.Kind != kindChain || p.Name != "web" || p.Why == "" {
			t.Errorf("problem %v", p)
		}
		fields = append(fields, p.Field)
	}
	want := []string{"Chain.EnvoyExtensions", "Chain.Nodes[resolver:x].Resolver.Hurry", "Chain.Shiny", "Chain.Targets[x].PrioritizeByLocality"}
	if !reflect.DeepEqual(fields, want) {
		t.Errorf("problems of %q, want %q", fields, want)
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", "not a JSON object"},
		{"cut off", `{"Chain":{`, "not a JSON object: unexpected EOF"},
		{"a list", `[]`, "not a JSON object"},
		{"no chain", `{}`, `no object "Chain"`},
		{"null chain", `{"Chain":null}`, `no object "Chain"`},
		{"more", `{"Chain":{}} {}`, "something follows"},
		{"wrong type", `{"Chain":{"Protocol":1}}`, "Chain.Protocol is 1, want a string"},
		{"wrong deep", `{"Chain":{"Nodes":{"n":{"Splits":[{"Weight":"9"}]}}}}`, "Chain.Nodes[n].Splits[0].Weight is 9, want a float32"},
		{"object for list", `{"Chain":{"Nodes":{"n":{"Splits":{}}}}}`, "Splits is an object, want a list"},
		{"list for object", `{"Chain":{"Nodes":[]}}`, "Nodes is a list, want an object"},
		{"bad duration", `{"Chain":{"Targets":{"t":{"ConnectTimeout":"soon"}}}}`, `ConnectTimeout is "soon", not a duration`},
		{"half a nanosecond", `{"Chain":{"Targets":{"t":{"ConnectTimeout":0.5}}}}`, "not a number of nanoseconds"},
		{"negative count", `{"Chain":{"Nodes":{"n":{"Routes":[{"Definition":{"Destination":{"NumRetries":-1}}}]}}}}`, "want a whole number"},
		{"huge weight", `{"Chain":{"Nodes":{"n":{"Splits":[{"Weight":1e99}]}}}}`, "float32"},
		{"too long", `{"Chain":{"ServiceName":"` + strings.Repeat("x", MaxBytes) + `"}}`, "longer than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, _, err := Decode(strings.NewReader(tc.in))
			if err == nil || c != nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{webChain, apiChain, defaultChain} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"Chain":{"StartNode":"a","Nodes":{"a":{"Type":"router","Routes":[null]}}}}`))
	f.Add([]byte(`{"Chain":{"StartNode":"a","Nodes":{"a":{"Type":"splitter","Splits":[{"Weight":1,"NextNode":"a"}]}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		e, _, err := New(c, Options{})
		if err != nil {
			return
		}
		for _, path := range []string{"/", "/admin/x", "*", ""} {
			r := Recorded{Path: path, Query: "env=qa", Header: map[string][]string{"x-debug": {"1"}, "x-p": {""}}}.Request()
			d := e.Route(r)
			if d.Plan != nil && d.Target == nil {
				t.Fatal("a plan without a target")
			}
			_ = e.Explain(r).String()
		}
		for _, target := range c.Targets {
			if target != nil {
				NewFilter(target, Residency{})
			}
		}
	})
}

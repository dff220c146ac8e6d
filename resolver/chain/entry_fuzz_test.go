package chain

import (
	"errors"
	"reflect"
	"testing"
)

func FuzzDecodeEntries(f *testing.F) {
	f.Add(routerJSON, uint8(0))
	f.Add(routerYAML, uint8(1))
	f.Add(routerHCL, uint8(2))
	for _, tc := range refusals {
		f.Add(tc.entries[len(tc.entries)-1], uint8(0))
	}
	f.Add("subsets \"v1\" { filter = \"\" }\nsubsets \"v2\" {}\nkind = \"service-resolver\" name = \"a\"", uint8(2))
	f.Add("a = <<X\nb\nX\n", uint8(2))
	f.Add("- kind: proxy-defaults\n  config: {protocol: http, a: [1, {b: null}]}\n", uint8(1))
	f.Fuzz(func(t *testing.T, text string, format uint8) {
		if len(text) > 1<<14 {
			return
		}
		entries, problems, err := DecodeEntries([]byte(text), []Format{JSON, YAML, HCL}[format%3])
		if err != nil && len(err.Error()) > 1<<14 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
		for _, p := range problems {
			if p.Why == "" {
				t.Fatalf("problem %+v says nothing", p)
			}
		}
		for _, e := range entries {
			if err := Validate(e); err != nil {
				t.Fatalf("decoded, but not valid: %v", err)
			}
			data, err := EncodeEntry(e)
			if err != nil {
				t.Fatalf("%+v cannot be encoded: %v", e, err)
			}
			again, _, err := DecodeEntries(data, JSON)
			if err != nil || len(again) != 1 || !reflect.DeepEqual(again[0], e) {
				t.Fatalf("%+v\nis encoded as %s\nand decoded as %+v, %v", e, data, again, err)
			}
		}
		set, err := NewEntrySet(entries...)
		if err != nil {
			var e *EntryError
			if !errors.As(err, &e) || e.Kind == "" || e.Name == "" {
				t.Fatalf("error %q names no entry", err)
			}
			return
		}
		for _, name := range set.Services() {
			c, err := set.Compile(name, CompileConfig{})
			if err != nil {
				t.Fatalf("the set is good but chain %q is not: %v", name, err)
			}
			checkChain(t, c)
			if _, _, err := New(c, Options{}); err != nil {
				t.Fatalf("chain %q cannot be evaluated: %v", name, err)
			}
		}
	})
}

// checkChain fails if a chain does not hang together.
func checkChain(t *testing.T, c *Chain) {
	t.Helper()
	if c.Nodes[c.StartNode] == nil {
		t.Fatalf("there is no start node %q", c.StartNode)
	}
	for key, n := range c.Nodes {
		if n.key() != key {
			t.Fatalf("node %q has key %q", n.key(), key)
		}
		for _, next := range n.next() {
			if c.Nodes[next] == nil {
				t.Fatalf("node %q leads to %q, which is not", key, next)
			}
		}
		if n.Resolver == nil {
			continue
		}
		targets := []string{n.Resolver.Target}
		if n.Resolver.Failover != nil {
			targets = append(targets, n.Resolver.Failover.Targets...)
		}
		for _, id := range targets {
			if c.Targets[id] == nil || c.Targets[id].ID != id {
				t.Fatalf("node %q has target %q, which is not", key, id)
			}
		}
	}
}

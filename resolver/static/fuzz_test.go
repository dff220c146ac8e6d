package static

import (
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

func FuzzFileCatalog(f *testing.F) {
	for _, seed := range []string{
		"services: {}",
		"services:\n  payments:\n    - address: \"10.0.0.1:9000\"\n      weight: 3\n      health: critical\n      tags: [a]\n      meta: {a: b}\n",
		`{"services": {"a": [{"address": "[::1]:1"}], "b": null}}`,
		"services: &a {a: *a}",
		"services:\n  a:\n    - {address: \"10.0.0.1:1\", weight: .nan}\n",
		"services: {a: [{address: 1e308}]}",
		"\xef\xbb\xbfservices: {}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		c := New(Config{})
		all, err := c.parse(data)
		if err != nil {
			if all != nil || err.Error() == "" {
				t.Fatalf("error %q with content %v", err, all)
			}
			return
		}
		for name, l := range all {
			if resolver.CheckService(name) != nil || l.skipped < len(l.reasons) {
				t.Fatalf("service %q, %d skipped, reasons %q", name, l.skipped, l.reasons)
			}
			for i, e := range l.endpoints {
				if i > 0 && l.endpoints[i-1].ID.Compare(e.ID) >= 0 {
					t.Fatalf("endpoints %q and %q are not sorted", l.endpoints[i-1].ID, e.ID)
				}
				if again, err := c.normalize(name, *e); err != nil || !again.Equal(e) {
					t.Fatalf("endpoint %+v is accepted once but not twice: %v", e, err)
				}
			}
		}
		c.load(all)
	})
}

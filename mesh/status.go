package mesh

import (
	"github.com/weft-mesh/weft/resolver"
)

// SourceStatus is what one catalog source says of one service.
type SourceStatus struct {
	// Source is the cloud's name.
	Source string
	resolver.CacheStatus
}

// Status lists each service that is watched, for each source: how old its list
// is, why it is stale, and what is held back. It is empty for a catalog given in
// Config.Catalog, which keeps its own books.
func (m *Mesh) Status() []SourceStatus {
	var out []SourceStatus
	for _, c := range m.caches {
		for _, s := range c.cache.Status() {
			out = append(out, SourceStatus{Source: c.name, CacheStatus: s})
		}
	}
	return out
}

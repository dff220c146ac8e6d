package mesh

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/resolver/chain"
)

// Routes is what is known of the chains of the services that were called, by name.
// Empty: there are none, see Config.Chains.
func (m *Mesh) Routes() []RouteStatus {
	m.to.mu.RLock()
	var list []RouteStatus
	for _, to := range m.to.made {
		if to.router != nil {
			s := to.router.status()
			if s.Err == nil && m.entriesErr != nil {
				s.Err = m.entriesErr()
			}
			list = append(list, s)
		}
	}
	m.to.mu.RUnlock()
	slices.SortFunc(list, func(a, b RouteStatus) int { return strings.Compare(a.Service, b.Service) })
	return list
}

// Explain says what becomes of a request to a service that was called before, step
// by step, by the chain that is in effect. It calls nobody.
func (m *Mesh) Explain(service string, r chain.Recorded) (chain.Explanation, error) {
	to := m.to.of(service)
	if to.router == nil {
		return chain.Explanation{}, fmt.Errorf("mesh: explain %q: this member reads no chains; see Config.Chains", service)
	}
	t := to.router.table.Load()
	if t == nil {
		return chain.Explanation{}, fmt.Errorf("mesh: explain %q: its chain is not known yet; call the service first", service)
	}
	return t.eval.Explain(r.Request()), nil
}

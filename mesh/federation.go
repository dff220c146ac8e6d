package mesh

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/bundleendpoint"
)

// openFederation follows the bundle endpoints of Config.Federation.
func (m *Mesh) openFederation(own security.Source) ([]security.Foreign, error) {
	if len(m.cfg.Federation) == 0 {
		return nil, nil
	}
	svid, err := own.GetX509SVID()
	if err != nil {
		return nil, fmt.Errorf("mesh: the trust domain for Config.Federation: %w", err)
	}
	var foreign []security.Foreign
	seen := map[string]bool{svid.ID.TrustDomain().Name(): true}
	for i, cfg := range m.cfg.Federation {
		if seen[cfg.TrustDomain] {
			return nil, fmt.Errorf("mesh: Config.Federation[%d] (or WEFT_FEDERATION): trust domain %q is our own, or is named twice", i, cfg.TrustDomain)
		}
		seen[cfg.TrustDomain] = true
		if cfg.Logger == nil {
			cfg.Logger = m.log
		}
		if cfg.CacheDir == "" {
			cfg.CacheDir = m.cfg.SnapshotDir
		}
		if file, ok := cfg.Bootstrap.(bundleFile); ok { // a bad one must not be found out later
			if _, err := file.GetX509BundleForTrustDomain(file.td); err != nil {
				return nil, fmt.Errorf("mesh: WEFT_FEDERATION: %w", err)
			}
		}
		src, err := bundleendpoint.Follow(cfg)
		if err != nil {
			return nil, fmt.Errorf("mesh: Config.Federation[%d] (or WEFT_FEDERATION): %w", i, err)
		}
		m.onLeave(func(context.Context) error { return src.Close() })
		m.federated = append(m.federated, src)
		foreign = append(foreign, src)
	}
	return foreign, nil
}

// Federation is how the bundles of Config.Federation are, in its order.
func (m *Mesh) Federation() []bundleendpoint.Status {
	out := make([]bundleendpoint.Status, len(m.federated))
	for i, s := range m.federated {
		out[i] = s.Status()
	}
	return out
}

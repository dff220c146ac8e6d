package mesh

import (
	"context"
	"sync"

	"github.com/weft-mesh/weft/security"
)

// followIdentity tries endpoints that could not be connected again when the own
// identity or a bundle is another one: what was refused was the one before, and the
// next attempt can be 10 s away. A source that announces nothing changes nothing.
func (m *Mesh) followIdentity(own security.Source) {
	announces, ok := own.(interface{ Changed() <-chan struct{} })
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	changed := announces.Changed()
	wg.Go(func() {
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			changed = announces.Changed()
			m.store.Reconnect()
		}
	})
	m.onLeave(func(context.Context) error { cancel(); wg.Wait(); return nil })
}

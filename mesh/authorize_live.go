package mesh

import (
	"context"
	"sync"
	"time"

	"github.com/weft-mesh/weft/security"
)

// revokeAfter is how long after a change of the rules the connections of those who may
// call nothing any more are closed: streams hear why they end before, and unary calls
// that are almost done are.
const revokeAfter = time.Second

// watchCallers closes the open connections of callers that a change of the rules leaves
// without any right. They may connect again: then each request is answered with what
// is the matter, which a failed handshake could not say.
func (m *Mesh) watchCallers() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		m.authorizer.Reauthorize(ctx, func(allowed func(security.PeerID) error) {
			wait := time.NewTimer(revokeAfter)
			defer wait.Stop()
			select {
			case <-wait.C:
				m.identity.Review(allowed)
			case <-ctx.Done():
			}
		})
	})
	m.onLeave(func(context.Context) error { cancel(); wg.Wait(); return nil })
}

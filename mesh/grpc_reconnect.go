package mesh

import "slices"

// reconnect makes the connections try endpoints that could not be connected now.
func (f *grpcFace) reconnect() {
	f.mu.Lock()
	conns := slices.Clone(f.conns)
	f.mu.Unlock()
	for _, c := range conns {
		c.ResetConnectBackoff()
	}
}

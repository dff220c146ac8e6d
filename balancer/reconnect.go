package balancer

import "time"

// Reconnect tries all endpoints that could not be connected once more, now, and begins
// to count their pauses anew. It is for when what they refused has changed, such as the
// own certificate.
func (s *Store) Reconnect() {
	s.mu.Lock()
	users := s.usersLocked()
	s.mu.Unlock()
	for _, b := range users {
		b.reconnect()
	}
}

func (b *Balancer) reconnect() {
	b.mu.Lock()
	if b.closed || len(b.tiers) == 0 {
		b.mu.Unlock()
		return
	}
	b.now = time.Now()
	replaced := false
	for _, t := range b.tiers {
		for _, n := range t.nodes {
			if n.failedAt.IsZero() {
				continue
			}
			if c, ok := n.conn.(interface{ retry() }); ok {
				c.retry()
				continue
			}
			// A connection that cannot be told to try is replaced.
			n.renew, t.dirty, replaced = true, true, true
		}
	}
	if !replaced {
		b.mu.Unlock()
		return
	}
	b.settle() // unlocks
}

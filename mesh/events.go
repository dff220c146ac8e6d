package mesh

import (
	"sync"
	"time"

	"github.com/weft-mesh/weft/security"
)

// eventEvery is the shortest time between two events that a peer can cause.
const eventEvery = time.Second

// limiter lets one event through per eventEvery and counts the others.
type limiter struct {
	mu         sync.Mutex
	next       time.Time
	suppressed int
}

// allow reports whether to log now, and how many events were not logged since.
func (l *limiter) allow(now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed = l.suppressed, 0
	l.next = now.Add(eventEvery)
	return suppressed, true
}

// rejected logs a caller that a server refused in the handshake.
func (m *Mesh) rejected(err *security.HandshakeError) {
	m.watch.registry().Handshake(refusal(err))
	if n, ok := m.rejects.allow(time.Now()); ok {
		m.log.Warn("peer.rejected", "service", m.cfg.Service, "peer", err.Got, "error", err, "suppressed", n)
	}
}

package telemetry

import (
	"sync"
	"time"
)

// limit lets burst events through in each span of time, and counts the others.
type limit struct {
	every time.Duration
	burst int

	mu         sync.Mutex
	next       time.Time
	used       int
	suppressed int
}

// allow reports whether the event may go, and how many may not have gone before.
func (l *limit) allow(now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !now.Before(l.next) {
		l.next, l.used = now.Add(l.every), 0
	}
	if l.used >= l.burst {
		l.suppressed++
		return 0, false
	}
	l.used++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

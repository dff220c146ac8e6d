package held

import (
	"log/slog"
	"time"

	"github.com/weft-mesh/weft/security/internal/wall"
)

// Guard logs when the SVID nears its end while updates fail, and when it is over,
// until stop is closed: svid.expiring with a half, a third and a tenth of the life
// left, and svid.expired.
func (c *Cell) Guard(stop <-chan struct{}, log *slog.Logger) {
	for {
		changed, status := c.Changed(), c.Status()
		for _, at := range marks(status.NotBefore, status.NotAfter) {
			if !wall.Wait(at, stop, changed) {
				break
			}
			c.warn(log, at.Equal(status.NotAfter))
		}
		select {
		case <-stop:
			return
		case <-changed:
		}
	}
}

func (c *Cell) warn(log *slog.Logger, over bool) {
	s := c.Status()
	attrs := []any{"spiffe_id", s.ID, "not_after", s.NotAfter, "error", s.Err}
	switch {
	case over:
		log.Error("svid.expired", append(attrs, "detail", "it is not presented any more: new connections fail until it is renewed")...)
	case s.Err != nil:
		log.Warn("svid.expiring", append(attrs, "left", time.Until(s.NotAfter).Round(time.Second))...)
	}
}

// marks are the moments that are still ahead; none if there is no SVID.
func marks(from, to time.Time) []time.Time {
	if from.IsZero() {
		return nil
	}
	var out []time.Time
	for _, part := range []time.Duration{2, 3, 10} {
		if at := to.Add(-to.Sub(from) / part); time.Now().Before(at) {
			out = append(out, at)
		}
	}
	return append(out, to)
}

package authz

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// audit writes who was refused what by which rule, and a sample of who was not.
type audit struct {
	log     *slog.Logger
	service string
	sample  float64
	rate    float64 // events per second

	mu     sync.Mutex
	tokens float64
	last   time.Time
	missed int
}

func newAudit(cfg Config) *audit {
	return &audit{log: cfg.Logger, service: cfg.Service, sample: cfg.SampleAllowed, rate: float64(cfg.LogRate), tokens: float64(cfg.LogRate)}
}

// take reports whether an event may be written, and how many were not before it.
func (a *audit) take(now time.Time) (missed int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.last.IsZero() {
		a.tokens = min(a.rate, a.tokens+now.Sub(a.last).Seconds()*a.rate)
	}
	a.last = now
	if a.tokens < 1 {
		a.missed++
		return 0, false
	}
	a.tokens--
	missed, a.missed = a.missed, 0
	return missed, true
}

func (a *audit) refused(event string, r *Request, d *Decision) { a.write(slog.LevelWarn, event, r, d) }

func (a *audit) allowed(r *Request, d *Decision) {
	if a.sample > 0 && (a.sample >= 1 || rand.Float64() < a.sample) {
		a.write(slog.LevelInfo, "authz.allowed", r, d)
	}
}

// write makes one event. Of the request it holds names only: no header, no query,
// no token. What the caller chose is escaped and cut.
func (a *audit) write(level slog.Level, event string, r *Request, d *Decision) {
	ctx := context.Background()
	if !a.log.Enabled(ctx, level) {
		return
	}
	missed, ok := a.take(time.Now())
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.String("service", a.service),
		slog.String("caller", clip(r.Caller.String())),
		slog.String("protocol", r.Protocol),
		slog.String("method", clip(r.Method)),
		slog.String("path", clip(r.Path)),
		slog.String("rule", clip(d.Rule)),
		slog.String("version", clip(d.Version)),
	}
	if !r.Via.IsZero() {
		attrs = append(attrs, slog.String("via", clip(r.Via.String())))
	}
	if d.reason != "" {
		attrs = append(attrs, slog.String("reason", clip(d.reason)))
	}
	if missed > 0 {
		attrs = append(attrs, slog.Int("suppressed", missed))
	}
	a.log.LogAttrs(ctx, level, event, attrs...)
}

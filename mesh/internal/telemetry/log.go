package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// eventBurst of one event about one thing may come in eventEvery; what is beyond
	// is counted and told with the next one.
	eventBurst = 5
	eventEvery = 5 * time.Second
	// maxEvents bounds the things that are kept apart.
	maxEvents = 1024
)

// Limited is l with a bound on how often the same event about the same service,
// endpoint, cloud or source is logged. Levels below Info pass as they are. The
// next record after a suppression has the attribute "suppressed", the count.
func Limited(l *slog.Logger) *slog.Logger {
	return slog.New(&limited{Handler: l.Handler(), at: &limits{by: map[string]*limit{}}})
}

type limited struct {
	slog.Handler
	prefix string // what With has said of the thing
	at     *limits
}

type limits struct {
	mu sync.Mutex
	by map[string]*limit
}

// names are the attributes that tell two things apart.
func named(key string) bool {
	switch key {
	case "service", "source", "endpoint", "cloud", "zone", "trust_domain", "address", "id", "spiffe_id":
		return true
	}
	return false
}

func (h *limited) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return h.Handler.Handle(ctx, r)
	}
	key := h.prefix + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if named(a.Key) {
			key += "\x00" + a.Value.String()
		}
		return true
	})
	n, ok := h.at.of(key).allow(r.Time)
	if !ok {
		return nil
	}
	if n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", n))
	}
	return h.Handler.Handle(ctx, r)
}

func (l *limits) of(key string) *limit {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.by[key]
	if e == nil {
		if len(l.by) >= maxEvents {
			clear(l.by) // all may speak again
		}
		e = &limit{every: eventEvery, burst: eventBurst}
		l.by[key] = e
	}
	return e
}

func (h *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.Handler = h.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		if named(a.Key) {
			next.prefix += a.Value.String() + "\x00"
		}
	}
	return &next
}

func (h *limited) WithGroup(name string) slog.Handler {
	next := *h
	next.Handler = h.Handler.WithGroup(name)
	return &next
}

package drill

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
)

// Events is a slog.Handler that counts what it is told, by event and endpoint or
// cloud or zone.
type Events struct {
	mu     sync.Mutex
	counts map[string]int
}

// Enabled implements slog.Handler.
func (*Events) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// WithAttrs and WithGroup implement slog.Handler; the mesh uses neither.
func (e *Events) WithAttrs([]slog.Attr) slog.Handler { return e }

// WithGroup implements slog.Handler.
func (e *Events) WithGroup(string) slog.Handler { return e }

// Handle implements slog.Handler.
func (e *Events) Handle(_ context.Context, r slog.Record) error {
	key := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "endpoint" || a.Key == "cloud" || a.Key == "zone" {
			key += " " + a.Value.String()
		}
		return true
	})
	e.Count(key)
	return nil
}

// Count counts one.
func (e *Events) Count(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counts == nil {
		e.counts = map[string]int{}
	}
	e.counts[key]++
}

// Counts is what was counted.
func (e *Events) Counts() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.counts)
}

// Changes are the counts of what is about outliers and breakers.
func (e *Events) Changes() map[string]int {
	out := e.Counts()
	maps.DeleteFunc(out, func(key string, _ int) bool {
		return !strings.HasPrefix(key, "endpoint.") && !strings.HasPrefix(key, "zone.") && !strings.HasPrefix(key, "breaker.")
	})
	return out
}

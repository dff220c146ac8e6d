package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/examples/internal/scene"
)

// tally counts the calls without a key, each of which is drawn, by kind and version.
type tally struct {
	allow  atomic.Bool // broken answers of v2 are expected
	broken atomic.Int64

	mu   sync.Mutex
	seen map[[2]string]int
}

// calls are a scene's calls that are counted. A broken answer that is expected counts
// as an answer.
func (t *tally) calls(all map[string]caller) map[string]scene.Call {
	counted := map[string]scene.Call{}
	for kind, call := range all {
		counted[kind] = func(ctx context.Context) (string, error) {
			version, err := call(ctx)
			var b *broken
			if errors.As(err, &b) && b.version == "v2" && t.allow.Load() {
				t.broken.Add(1)
				err = nil
			}
			if err == nil {
				t.mu.Lock()
				t.seen[[2]string{kind, version}]++
				t.mu.Unlock()
			}
			return version, err
		}
	}
	return counted
}

// reset begins to count anew.
func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = map[[2]string]int{}
}

// has reports whether n calls of each kind were counted.
func (t *tally) has(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for kind := range services {
		if t.seen[[2]string{kind, "v1"}]+t.seen[[2]string{kind, "v2"}] < n {
			return false
		}
	}
	return true
}

// judge compares v2's share of the calls that were counted with what it should be:
// five standard deviations are allowed, and slack calls that were decided before.
func (t *tally) judge(want float64, slack int) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text []string
	var errs []error
	for _, kind := range []string{"gRPC", "HTTP"} {
		v2 := t.seen[[2]string{kind, "v2"}]
		n := v2 + t.seen[[2]string{kind, "v1"}]
		text = append(text, fmt.Sprintf("%s %.1f %% of %d", kind, 100*float64(v2)/float64(n), n))
		if off := math.Abs(float64(v2) - want*float64(n)); off > 5*math.Sqrt(want*(1-want)*float64(n))+float64(slack) {
			errs = append(errs, fmt.Errorf("v2 got %d of %d %s calls, which is not %.0f %%", v2, n, kind, want*100))
		}
	}
	return strings.Join(text, ", "), errors.Join(errs...)
}

// events passes the canary events of the mesh's log on to the story.
type events struct {
	say func(format string, args ...any)

	mu   sync.Mutex
	seen map[string]int // by event and service
}

// Enabled implements slog.Handler.
func (e *events) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs and WithGroup implement slog.Handler: the story needs neither.
func (e *events) WithAttrs([]slog.Attr) slog.Handler { return e }

// WithGroup implements slog.Handler.
func (e *events) WithGroup(string) slog.Handler { return e }

// Handle implements slog.Handler.
func (e *events) Handle(_ context.Context, r slog.Record) error {
	if !strings.HasPrefix(r.Message, "canary.") {
		return nil
	}
	text, service := "", ""
	r.Attrs(func(a slog.Attr) bool {
		if v := a.Value.String(); v != "" {
			text += fmt.Sprintf(" %s=%q", a.Key, v)
		}
		if a.Key == "service" {
			service = a.Value.String()
		}
		return true
	})
	e.mu.Lock()
	e.seen[r.Message+" "+service]++
	e.mu.Unlock()
	e.say("  event %s%s", r.Message, text)
	return nil
}

// everywhere reports whether an event came for both services.
func (e *events) everywhere(event string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, service := range services {
		if e.seen[event+" "+service] == 0 {
			return false
		}
	}
	return true
}

package mesh

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver/chain"
)

// sourced delivers one chain to each watch and counts them.
type sourced struct {
	chain   *chain.Chain
	begun   atomic.Int64
	running atomic.Int64
	slow    time.Duration // to end
}

func (s *sourced) WatchChain(ctx context.Context, _ string, deliver func(chain.Update)) error {
	s.begun.Add(1)
	s.running.Add(1)
	defer s.running.Add(-1)
	deliver(chain.Update{Chain: s.chain})
	<-ctx.Done()
	time.Sleep(s.slow)
	return ctx.Err()
}

// A chain is forgotten, with what its lanes run, when nobody has called for long; not
// while somebody holds it, and not by a watch that ends while the next one runs.
func TestIdleRouter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := &sourced{chain: chain.Single("web", "aws"), slow: time.Minute}
		var wg sync.WaitGroup
		stop, cancel := context.WithCancel(context.Background())
		r := &router{
			service: "web", source: src, guard: chain.NewGuard(chain.GuardConfig{}), log: slog.New(slog.DiscardHandler),
			wg: &wg, stop: stop, changed: make(chan struct{}), to: &destination{}, keep: func(*router, []mark) {},
			build: func(_ *router, c *chain.Chain, old *routes) (*routes, []chain.Problem, error) {
				e, _, err := chain.New(c, chain.Options{})
				if err != nil {
					return nil, nil, err
				}
				o, err := resilience.NewOutlier(resilience.OutlierConfig{})
				next := &routes{eval: e, states: map[string]*laneState{}}
				next.add(&laneState{key: "a", outlier: o})
				return next, nil, err
			},
		}
		known := func() *routes {
			t.Helper()
			tab, err := r.current(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return tab
		}
		first := known()
		time.Sleep(chainIdle - time.Second)
		if known() != first || src.begun.Load() != 1 {
			t.Error("it was forgotten early")
		}
		time.Sleep(2*chainIdle + 2*time.Minute)
		if r.table.Load() != nil || src.running.Load() != 0 {
			t.Error("it is known after a long time without calls")
		}
		second := known()
		if second == first || src.begun.Load() != 2 {
			t.Error("the next call does not begin anew")
		}
		release := r.hold()
		time.Sleep(5*chainIdle - time.Minute) // not at the very moment of a look
		if r.table.Load() != second || src.begun.Load() != 2 {
			t.Error("it was forgotten while it is held")
		}
		release()
		time.Sleep(time.Minute + time.Second) // the watch has begun to end
		for src.running.Load() == 1 && r.table.Load() != nil && r.isRunning() {
			time.Sleep(time.Second)
		}
		release = r.hold() // and the next one runs before it has ended
		time.Sleep(2 * time.Minute)
		if r.table.Load() != second || src.begun.Load() != 3 {
			t.Errorf("the watch that ended took the table of the next one: %d watches", src.begun.Load())
		}
		release()
		cancel()
		wg.Wait()
		if tab := r.table.Load(); tab != nil {
			tab.drop(nil)
		}
	})
}

func (r *router) isRunning() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running
}

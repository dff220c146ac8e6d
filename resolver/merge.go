package resolver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver/internal/hub"
)

// ErrClosed is what Watch of a closed catalog returns.
var ErrClosed = hub.ErrClosed

// Source is one catalog with a name: a cloud.
type Source struct {
	// Name is unique among the sources of a Merge, for example "aws".
	Name string
	// Catalog is asked for the endpoints. Put a [Cache] in front of a remote one.
	Catalog Catalog
}

// Merged is the union of several sources that fail apart. It implements [Catalog].
type Merged struct {
	sources []Source
	hub     *hub.Hub[*Snapshot]
}

// mergeGap is the shortest time between two merged snapshots of a service: a
// burst over several sources costs one merge, and the first change goes out at once.
const mergeGap = 5 * time.Millisecond

// startGap is how long after the start there is no such gap.
const startGap = time.Second

// Merge joins sources to one catalog whose endpoints are their union. It refuses
// an empty list, a missing catalog, and a name that is empty or used twice.
//
// Each source keeps its own state, in Snapshot.Sources, and none waits for another:
// the first merged snapshot goes out as soon as one source is Known or Stale. The
// state of the whole is
//
//   - Known if every source is Known;
//   - Unknown if every source is Unknown, or if there are no endpoints and a source
//     is Unknown: it could have some;
//   - Stale otherwise: some source is Stale, or is Unknown while others have
//     endpoints.
//
// AsOf is the oldest AsOf of the sources that have answered; StaleSince the oldest
// StaleSince, where an Unknown source counts from the start of its watch. Held is
// that of the first source that holds a change. Skipped is the sum.
//
// If two sources list the same ID, the entry of a Known source wins over that of
// a Stale one, and among equals the source that stands first in the arguments
// wins; the other entry counts as skipped.
func Merge(sources ...Source) (*Merged, error) {
	if len(sources) == 0 {
		return nil, fmt.Errorf("resolver: Merge needs at least one source")
	}
	names := map[string]bool{}
	for i, s := range sources {
		switch {
		case s.Name == "":
			return nil, fmt.Errorf("resolver: Merge: source %d has no Name", i)
		case s.Catalog == nil:
			return nil, fmt.Errorf("resolver: Merge: source %q has no Catalog", clip(s.Name))
		case names[s.Name]:
			return nil, fmt.Errorf("resolver: Merge: two sources are named %q", clip(s.Name))
		}
		names[s.Name] = true
	}
	m := &Merged{sources: append([]Source(nil), sources...)}
	m.hub = hub.New(0, m.run)
	return m, nil
}

// Watch implements [Catalog]. All watches of a service share one watch per source.
func (m *Merged) Watch(ctx context.Context, service string, deliver func(*Snapshot)) error {
	if err := CheckService(service); err != nil {
		return err
	}
	return m.hub.Watch(ctx, service, deliver)
}

// Close ends all watches, also those whose context still runs, and waits within
// ctx for what they started. The sources stay open. It is idempotent.
func (m *Merged) Close(ctx context.Context) error { return m.hub.CloseWithin(ctx) }

// run watches a service at every source and publishes the union.
func (m *Merged) run(ctx context.Context, service string, publish func(*Snapshot)) {
	var (
		mu    sync.Mutex
		parts = make([]*Snapshot, len(m.sources))
		dirty = make(chan struct{}, 1)
		wg    sync.WaitGroup
		mg    = merger{service: service, sources: m.sources, started: time.Now()}
	)
	defer wg.Wait()
	update := func(i int, s *Snapshot) {
		mu.Lock()
		parts[i] = s
		mu.Unlock()
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
	publish(mg.merge(parts)) // nothing is known yet, and readers are told so at once
	for i, src := range m.sources {
		wg.Go(func() {
			err := src.Catalog.Watch(ctx, service, func(s *Snapshot) { update(i, s) })
			if ctx.Err() == nil {
				mu.Lock()
				last := parts[i]
				mu.Unlock()
				update(i, ended(last, service, err))
			}
		})
	}
	gap := time.NewTimer(0)
	defer gap.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-dirty:
		}
		select {
		case <-ctx.Done():
			return
		case <-gap.C:
		}
		mu.Lock()
		now := append([]*Snapshot(nil), parts...)
		mu.Unlock()
		publish(mg.merge(now))
		if time.Since(mg.started) < startGap && starting(now) {
			gap.Reset(0) // each source's first answer goes out at once
		} else {
			gap.Reset(mergeGap)
		}
	}
}

// starting reports whether a source has neither answered nor failed yet.
func starting(parts []*Snapshot) bool {
	for _, p := range parts {
		if p == nil || p.State == Unknown && p.Reason == nil {
			return true
		}
	}
	return false
}

// ended is what remains of a source whose watch ended by itself.
func ended(last *Snapshot, service string, err error) *Snapshot {
	if err == nil {
		err = fmt.Errorf("resolver: the watch of %q ended without an error", clip(service))
	}
	if last == nil || last.State == Unknown {
		return &Snapshot{Service: service, Reason: err}
	}
	s := *last
	if s.State != Stale {
		s.State, s.StaleSince = Stale, time.Now()
	}
	s.Reason = err
	return &s
}

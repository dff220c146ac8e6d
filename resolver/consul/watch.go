package consul

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

const (
	// readWithin bounds a read that Consul answers at once.
	readWithin = 10 * time.Second
	// staleReadWithin bounds the attempt to get a stale list when there is none.
	staleReadWithin = 2 * time.Second
	// slack is added to a blocking query's wait, beside Consul's own jitter.
	slack = 5 * time.Second
	// maxContactAge is when a server that lost its leader counts as stale.
	maxContactAge = 10 * time.Second
)

// watch follows one service. Only run uses its fields; view has its own lock.
type watch struct {
	c       *Catalog
	service string
	mapping mapping
	view    *view

	cancel   atomic.Pointer[context.CancelFunc] // of the step that runs
	path     string                             // pathService or pathConnect
	pace     pace
	index    uint64 // of the applied list; 0: read at once
	failures int    // in a row
	idle     int    // answers in a row that came early and said nothing
	patient  bool   // has waited for the trust domain
	probing  bool
}

func newWatch(c *Catalog, service string, publish func(*resolver.Snapshot)) *watch {
	w := &watch{c: c, service: service, path: pathService, mapping: c.cfg.mapping(service)}
	w.view = newView(service, c.trust, c.cfg.Logger.With("service", service), publish)
	return w
}

func (w *watch) retrust() { w.view.retrust() }

// run follows the service until ctx ends.
func (w *watch) run(ctx context.Context) {
	w.view.start()
	for sleep(ctx, w.pace.delay(time.Now())) {
		began := time.Now()
		again, err := w.interruptible(ctx)
		if ctx.Err() == nil && err != nil && !again {
			w.fail(ctx, err, began)
		}
		if w.probing {
			w.c.source.done()
			w.probing = false
		}
		if ctx.Err() != nil {
			return
		}
		if again {
			w.index = 0
			continue
		}
		if err == nil {
			w.failures = 0
			w.c.source.ok()
			continue
		}
		w.probing = w.c.source.backoff(ctx, err, w.failures)
	}
	if w.probing {
		w.c.source.done()
	}
}

// interruptible makes a step that interrupt ends, which again reports.
func (w *watch) interruptible(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.cancel.Store(&cancel)
	if _, has := w.view.need(); !has {
		w.index = 0
	}
	err = w.step(ctx)
	return err != nil && ctx.Err() != nil, err
}

// fail keeps the last list and starts over from index 0.
func (w *watch) fail(ctx context.Context, err error, began time.Time) {
	w.failures++
	w.index = 0
	level := slog.LevelWarn
	if sourceWide(err) {
		w.c.source.fail(err, w.probing)
		level = slog.LevelDebug // the source has said it for all
	} else {
		w.c.source.ok()
	}
	since := time.Now()
	if errors.Is(err, context.DeadlineExceeded) {
		since = began // it fell silent then, not now
	}
	if !w.view.known() && sourceWide(err) {
		w.readStale(ctx, err)
	}
	w.view.lost(explain(err, w.service), since, level)
}

// readStale asks any server for the list when there is none: servers without a
// leader still know one.
func (w *watch) readStale(ctx context.Context, why error) {
	ctx, cancel := context.WithTimeout(ctx, staleReadWithin)
	defer cancel()
	a, err := w.query(ctx, 0, "stale")
	if err == nil && len(a.list.instances) > 0 {
		w.view.apply(a.list, time.Now().Add(-a.contact), explain(why, w.service))
	}
}

// step makes one query and applies what it says.
func (w *watch) step(ctx context.Context) error {
	sent, began := w.index, time.Now()
	a, err := w.query(ctx, sent, "")
	if err != nil {
		return err
	}
	regressed := false
	switch {
	case sent > 0 && a.index == sent:
		reason := w.stale(a)
		if reason == nil {
			w.view.confirm()
			if again, err := w.unsaid(ctx, a); err != nil || again {
				w.index = 0
				return err
			}
		} else {
			w.view.lost(explain(reason, w.service), time.Now().Add(-a.contact), slog.LevelWarn)
		}
		if reason != nil || time.Since(began) < w.c.cfg.Wait/32 {
			w.calm(ctx)
		} else {
			w.idle = 0
		}
		return nil
	case sent > 0 && a.index < sent:
		w.c.cfg.Logger.Warn("registry.index_regressed", "service", w.service, "from", sent, "to", a.index)
		if a, err = w.query(ctx, 0, ""); err != nil {
			return err
		}
		regressed = true
	}
	if a, err = w.believe(ctx, a); err != nil {
		return err
	}
	if a, err = w.sidecars(ctx, a); err != nil {
		return err
	}
	if a, err = w.registered(ctx, a); err != nil {
		return err
	}
	w.translated(a)
	w.awaitTrust(ctx, a.list)
	since, reason := time.Time{}, w.stale(a)
	if reason != nil {
		since, reason = time.Now().Add(-a.contact), explain(reason, w.service)
	}
	w.view.apply(a.list, since, reason)
	w.index = a.index
	switch {
	case regressed, a.index <= 1, reason != nil: // no index to rely on: poll
		w.calm(ctx)
	case time.Since(began) > time.Second: // it did wait
		w.idle = 0
	}
	return nil
}

// calm keeps a source that answers at once and says nothing from spinning us.
func (w *watch) calm(ctx context.Context) {
	w.idle++
	sleep(ctx, 500*time.Millisecond+jitter(w.idle))
}

// awaitTrust lets the first list wait a little for its identities.
func (w *watch) awaitTrust(ctx context.Context, l *list) {
	if w.patient {
		return
	}
	native := false
	for i := range l.instances {
		native = native || l.instances[i].path != ""
	}
	if !native {
		return
	}
	w.patient = true
	t := time.NewTimer(trustPatience)
	defer t.Stop()
	select {
	case <-w.c.trust.first:
	case <-t.C:
	case <-ctx.Done():
	}
}

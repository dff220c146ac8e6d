package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
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

// deadline is when a blocking query must have been answered: Consul adds up to
// a sixteenth.
func deadline(wait time.Duration) time.Duration { return wait + wait/16 + slack }

// watch follows one service. Only run uses its fields; view has its own lock.
type watch struct {
	c       *Catalog
	service string
	mapping mapping
	view    *view

	pace     pace
	index    uint64 // of the applied list; 0: read at once
	failures int    // in a row
	idle     int    // answers in a row that came early and said nothing
	patient  bool   // has waited for the trust domain
	probing  bool
}

// answer is a decoded reply.
type answer struct {
	reply
	list *list
}

func newWatch(c *Catalog, service string, publish func(*resolver.Snapshot)) *watch {
	w := &watch{c: c, service: service, mapping: c.cfg.mapping(service)}
	w.view = newView(service, c.trust, c.cfg.Logger.With("service", service), publish)
	return w
}

func (w *watch) retrust() { w.view.retrust() }

// run follows the service until ctx ends.
func (w *watch) run(ctx context.Context) {
	w.view.start()
	for sleep(ctx, w.pace.delay(time.Now())) {
		began := time.Now()
		err := w.step(ctx)
		if ctx.Err() == nil && err != nil {
			w.fail(ctx, err, began)
		}
		if w.probing {
			w.c.source.done()
			w.probing = false
		}
		if ctx.Err() != nil {
			return
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
	switch {
	case sent > 0 && a.index == sent:
		reason := w.stale(a)
		if reason == nil {
			w.view.confirm()
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
	}
	if a, err = w.believe(ctx, a); err != nil {
		return err
	}
	w.awaitTrust(ctx, a.list)
	since, reason := time.Time{}, w.stale(a)
	if reason != nil {
		since, reason = time.Now().Add(-a.contact), explain(reason, w.service)
	}
	w.view.apply(a.list, since, reason)
	w.index = a.index
	if a.index <= 1 || reason != nil { // no index to wait on: poll
		w.calm(ctx)
	} else {
		w.idle = 0
	}
	return nil
}

// calm keeps a source that answers at once and says nothing from spinning us.
func (w *watch) calm(ctx context.Context) {
	w.idle++
	sleep(ctx, 500*time.Millisecond+jitter(w.idle))
}

// stale is why an answer does not confirm anything, or nil.
func (w *watch) stale(a answer) error {
	switch {
	case !a.leader:
		return errNoLeader
	case a.contact > maxContactAge:
		return fmt.Errorf("%w: it heard from one %v ago", errNoLeader, a.contact)
	}
	return nil
}

// believe confirms an answer that would take away much, and refuses one that
// access rules have emptied.
func (w *watch) believe(ctx context.Context, a answer) (answer, error) {
	if err := w.permitted(ctx, a); err != nil {
		return a, err
	}
	had := w.view.count()
	if had == 0 || 2*len(a.list.instances) >= had {
		return a, w.readable(a)
	}
	second, err := w.query(ctx, 0, "")
	if err != nil {
		return a, fmt.Errorf("confirming that %d of %d endpoints are left: %w", len(a.list.instances), had, err)
	}
	if err := w.permitted(ctx, second); err != nil {
		return a, err
	}
	if len(second.list.instances) == 0 && second.index <= 1 {
		return a, fmt.Errorf("%w: no endpoints at index %d, after %d endpoints", ErrImplausible, second.index, had)
	}
	return second, w.readable(second)
}

// readable refuses a list of which no entry made sense: that says nothing about
// the service.
func (w *watch) readable(a answer) error {
	if len(a.list.instances) == 0 && a.list.skipped > 0 {
		return fmt.Errorf("%w: all %d entries are malformed, the first: %s", ErrImplausible, a.list.skipped, a.list.reasons[0])
	}
	return nil
}

// permitted refuses an empty list that access rules may have made. Consul marks
// it, except for requests without a token; then whether that may see the
// servers' own service tells.
func (w *watch) permitted(ctx context.Context, a answer) error {
	if len(a.list.instances) > 0 || a.list.skipped > 0 {
		if a.filtered {
			a.list.note("ACLs hide a part of the list; %s", needs(w.service))
		}
		return nil
	}
	if a.filtered {
		return fmt.Errorf("%w: the list was filtered to nothing", ErrACL)
	}
	token, err := w.c.client.currentToken()
	if err != nil || token != "" || !a.denies || w.c.cfg.Peer != "" {
		return err
	}
	visible, err := w.ask(ctx, "consul", 0, "")
	if err == nil && len(visible.list.instances) == 0 && visible.list.skipped == 0 {
		return fmt.Errorf("%w: there is no token, and without one nothing is visible", ErrACL)
	}
	return err
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

func (w *watch) query(ctx context.Context, index uint64, mode string) (answer, error) {
	return w.ask(ctx, w.service, index, mode)
}

// ask reads a service's health: at once if index is 0, else when it changes.
func (w *watch) ask(ctx context.Context, service string, index uint64, mode string) (answer, error) {
	c := w.c
	wait := c.client.slots.wait(c.cfg.Wait)
	q := url.Values{"merge-central-config": {""}}
	within := readWithin
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", strconv.FormatInt(wait.Milliseconds(), 10)+"ms")
		within = deadline(wait)
	}
	if mode != "" {
		q.Set(mode, "")
	}
	if c.cfg.Peer != "" {
		q.Set("peer", c.cfg.Peer)
	} else if c.cfg.Datacenter != "" {
		q.Set("dc", c.cfg.Datacenter)
	}
	leave, err := c.client.slots.enter(ctx, index > 0)
	if err != nil {
		return answer{}, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	m := w.mapping
	m.service = service
	var a answer
	a.reply, err = c.client.get(ctx, "/v1/health/service/"+url.PathEscape(service), q, func(r io.Reader) (err error) {
		began := time.Now()
		a.list, err = m.decode(r)
		w.pace.spent = time.Since(began)
		return err
	})
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("no answer within %v: %w", within, context.DeadlineExceeded)
	}
	return a, err
}

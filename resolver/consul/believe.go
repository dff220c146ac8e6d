package consul

import (
	"context"
	"fmt"
)

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
	visible, err := w.ask(ctx, pathService, "consul", 0, "")
	if err == nil && len(visible.list.instances) == 0 && visible.list.skipped == 0 {
		return fmt.Errorf("%w: there is no token, and without one nothing is visible", ErrACL)
	}
	return err
}

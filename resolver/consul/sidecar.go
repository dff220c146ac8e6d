package consul

import (
	"context"
	"fmt"
)

// The two lists of a service's instances that Consul has: all of them, or those that
// can be reached in the mesh, which are the native ones and the sidecars of others.
const (
	pathService = "/v1/health/service/"
	pathConnect = "/v1/health/connect/"
)

// unsaid reports whether an answer without news says that the list must be read again:
// an instance may have got a sidecar without a change of its own; and the index of
// the mesh's list does not grow when the last sidecar of a service goes away and
// native instances stay, which is how a migration ends.
func (w *watch) unsaid(ctx context.Context, a answer) (bool, error) {
	if w.path == pathConnect {
		return len(a.list.instances) != w.view.count(), nil
	}
	found, err := w.sidecars(ctx, a)
	return found.list != a.list, err
}

// sidecars looks whether instances that are not native have sidecars, and if so
// returns the list of the mesh instead, which the watch then follows for good: what
// was once behind a sidecar is never again dialled beside it. One list has one index,
// so all rules for blocking queries hold for it too.
//
// A peer lists sidecars only with a mesh gateway in front of them.
func (w *watch) sidecars(ctx context.Context, a answer) (answer, error) {
	if w.path == pathConnect || a.list.plain == 0 || w.c.cfg.Peer != "" {
		return a, nil
	}
	in, err := w.ask(ctx, pathConnect, w.service, 0, "")
	if err != nil {
		return a, fmt.Errorf("looking for sidecars: %w", err)
	}
	if in.list.sidecars == 0 {
		return a, w.readable(in)
	}
	w.path = pathConnect
	w.c.cfg.Logger.Info("sidecars.found", "service", w.service, "endpoints", len(in.list.instances))
	return in, nil
}

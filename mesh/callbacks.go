package mesh

import (
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// What users give us to be called runs on goroutines that are not theirs: of
// handshakes, of timers, of gRPC. A panic there would end the process. So it ends
// as event "panic.recovered" with the stack, and what was asked is answered with no.

var errAuthorizePanicked = errors.New("mesh: Config.Authorize panicked, which lets nobody in")

// guarded makes f safe to call; nil stays nil.
func guarded[E any](log *slog.Logger, name string, f func(E)) func(E) {
	if f == nil {
		return nil
	}
	return func(e E) {
		defer func() { recovered(log, name, recover()) }()
		f(e)
	}
}

// guardCallbacks makes the callbacks of a Config safe to call.
func (r *resolved) guardCallbacks() {
	if ask := r.Authorize; ask != nil {
		r.Authorize = func(p security.PeerID) (err error) {
			defer func() {
				if v := recover(); v != nil {
					recovered(r.Logger, "Config.Authorize", v)
					err = errAuthorizePanicked
				}
			}()
			return ask(p)
		}
	}
	if ask := r.PeerID; ask != nil {
		r.PeerID = func(e *resolver.Endpoint) (id string) {
			defer func() {
				if v := recover(); v != nil {
					recovered(r.Logger, "Config.PeerID", v)
					id = "" // which nobody can prove
				}
			}()
			return ask(e)
		}
	}
}

func recovered(log *slog.Logger, name string, v any) {
	if v != nil {
		log.Error("panic.recovered", "callback", name, "panic", v, "stack", string(debug.Stack()))
	}
}

package drill

import (
	"context"
	"net"

	"google.golang.org/grpc/stats"

	"github.com/weft-mesh/weft/resilience"
)

// Sends is a gRPC stats handler that notes in the ledger each attempt that is sent.
type Sends struct {
	// Name is the name of the endpoint at an address.
	Name func(addr net.Addr) string
}

// TagRPC implements stats.Handler.
func (Sends) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn implements stats.Handler.
func (Sends) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (Sends) HandleConn(context.Context, stats.ConnStats) {}

// HandleRPC implements stats.Handler.
func (h Sends) HandleRPC(ctx context.Context, ev stats.RPCStats) {
	if out, ok := ev.(*stats.OutHeader); ok {
		if r := RequestFrom(ctx); r != nil {
			r.Send(h.Name(out.RemoteAddr))
		}
	}
}

// Tell makes outliers and breakers count their changes of state, under the keys
// that Events has for the log's, and passes them on to say in words; nil: to nobody.
func (e *Events) Tell(o *resilience.OutlierConfig, b *resilience.BreakerConfig, say func(what string, args ...any)) {
	if say == nil {
		say = func(string, ...any) {}
	}
	o.OnEvent = func(ev resilience.OutlierEvent) {
		switch ev.Kind {
		case resilience.Ejected:
			e.Count("endpoint.ejected " + ev.Endpoint)
		case resilience.Returned:
			e.Count("endpoint.restored " + ev.Endpoint)
		case resilience.ZoneDegraded:
			e.Count("zone.degraded " + ev.Zone)
		case resilience.ZoneRestored:
			e.Count("zone.restored " + ev.Zone)
		}
		say("%v %s %s %s", ev.Kind, ev.Endpoint, ev.Zone, ev.Reason)
	}
	b.OnChange = func(ch resilience.BreakerChange) {
		switch ch.To {
		case resilience.BreakerOpen:
			e.Count("breaker.opened " + ch.Cloud)
		case resilience.BreakerHalfOpen:
			e.Count("breaker.half_open " + ch.Cloud)
		case resilience.BreakerClosed:
			e.Count("breaker.closed " + ch.Cloud)
		}
		say("breaker of %s in %s: %v", ch.Service, ch.Cloud, ch.To)
	}
}

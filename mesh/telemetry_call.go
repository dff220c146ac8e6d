package mesh

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/resilience"
)

// ended is a call whose end is known.
type ended struct {
	protocol, method string
	status, failure  string // failure is empty for a success
	took             time.Duration
	draw             uint32
	slow             bool
}

// finish ends the span of a call, or makes one after the fact, and logs it. It is
// called only if one of them is wanted.
func (s *seen) finish(ctx context.Context, call *balancer.Call, span *telemetry.Call, e ended, err error, attrs ...attribute.KeyValue) {
	flags := s.flags(ctx, call, e, err)
	if n := call.Attempts(); n != 1 {
		attrs = append(attrs, attribute.Int(telemetry.AttrAttempts, n))
	}
	switch {
	case span != nil:
		span.End(e.failure, attrs...)
	case flags&telemetry.Canceled != 0:
	case e.failure != "":
		s.w.tracer.Late(ctx, telemetry.Client, e.method, "error", e.failure, e.took, append(attrs, s.where(call.Last())...)...)
	case e.slow:
		s.w.tracer.Late(ctx, telemetry.Client, e.method, "slow", "", e.took, append(attrs, s.where(call.Last())...)...)
	}
	if !s.w.access.Wants(e.failure != "", e.draw) {
		return
	}
	r := telemetry.Record{
		Side: "client", Protocol: e.protocol, Service: s.service, Method: e.method, Status: e.status,
		Took: e.took, Attempts: call.Attempts(), Flags: flags, TraceID: telemetry.TraceID(ctx),
	}
	if n := call.Last(); n != nil {
		r.Endpoint, r.Cloud = n.Endpoint().Addr, n.Endpoint().Locality.Cloud
	}
	s.w.access.Log(ctx, r)
}

// flags are the reasons in a call's record.
func (s *seen) flags(ctx context.Context, call *balancer.Call, e ended, err error) (f telemetry.Flags) {
	set := func(on bool, flag telemetry.Flags) {
		if on {
			f |= flag
		}
	}
	var refused *resilience.Refused
	set(call.Attempts() == 0, telemetry.NoAttempt)
	set(call.Attempts() > 1, telemetry.Retried)
	set(s.elsewhere(call.Last()), telemetry.Failover)
	set(err != nil && errors.Is(ctx.Err(), context.Canceled), telemetry.Canceled)
	set(err != nil && (errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)), telemetry.Timeout)
	set(errors.As(err, &refused), telemetry.Refused)
	set(e.slow, telemetry.Slow)
	return f
}

// elsewhere reports whether a node is known to be in another cloud.
func (s *seen) elsewhere(n *balancer.Node) bool {
	if n == nil || s.w.cloud == "" {
		return false
	}
	cloud := n.Endpoint().Locality.Cloud
	return cloud != "" && cloud != s.w.cloud
}

// where are the attributes of the node of an attempt.
func (s *seen) where(n *balancer.Node) []attribute.KeyValue {
	if n == nil {
		return nil
	}
	ep := n.Endpoint()
	attrs := []attribute.KeyValue{attribute.String(telemetry.AttrPeerAddress, ep.Addr)}
	if ep.Locality.Cloud != "" {
		attrs = append(attrs, attribute.String(telemetry.AttrPeerCloud, ep.Locality.Cloud))
	}
	if ep.Locality.Zone != "" {
		attrs = append(attrs, attribute.String(telemetry.AttrPeerZone, ep.Locality.Zone))
	}
	if s.elsewhere(n) {
		attrs = append(attrs, attribute.Bool(telemetry.AttrFailover, true))
	}
	return attrs
}

// endAttempt ends the span of an attempt at the endpoint with an address; empty: of
// the newest pick.
func (s *seen) endAttempt(a *telemetry.Attempt, call *balancer.Call, addr, failure string) {
	n := call.Last()
	for i := 0; addr != "" && i < call.Attempts(); i++ {
		if p := call.At(i); p != nil && p.Endpoint().Addr == addr {
			n = p
		}
	}
	attrs := s.where(n)
	// A node that is connected and not ready was ejected, or its cloud was closed.
	if before := call.At(a.N - 2); before != nil && before != n && before.State() == balancer.Ready && !before.Ready() {
		attrs = append(attrs, attribute.Bool(telemetry.AttrEjected, true))
	}
	a.End(failure, attrs...)
}

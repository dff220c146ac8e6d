package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// TelemetryConfig says what is measured and traced, where Config.MeterProvider and
// TracerProvider are set. The zero value is a safe default. Metrics, attributes,
// spans and events have the names of OpenTelemetry's semantic conventions 1.45.0,
// and "mesh." for what those do not know.
type TelemetryConfig struct {
	// TraceRatio is the share of calls and requests outside of any trace that begin
	// one; it is asked first, and costs nothing, and the provider's own sampler
	// decides on those that are left. Calls within a trace follow it. 0: 0.01;
	// negative: none.
	TraceRatio float64
	// Retroactive leaves a span of a call that was not sampled and failed, or took
	// longer than 99 % of its method's: at most 10 a second, without those of its
	// attempts. Its attribute mesh.retroactive says why, for the provider's sampler.
	// false: none.
	Retroactive bool
	// ForeignBaggage lets W3C baggage pass to and from services of other trust domains;
	// within the own one it always passes, up to 8 KiB. false: it ends there.
	ForeignBaggage bool
	// MaxMethods is how many methods of one service are told apart in metrics, and
	// paths' patterns of the own server; the others are _OTHER. 0: 200.
	MaxMethods int
	// EndpointLabels counts attempts for each endpoint's address. It multiplies the
	// number of series. false: for each cloud and zone.
	EndpointLabels bool
	// AccessLog takes a record named "access" for each failed call and a share of
	// the others, with the reasons in "flags"; at most 100 a second. nil: none.
	AccessLog *slog.Logger
	// AccessRatio is the share of successful calls in AccessLog. 0: 0.01; negative: none.
	AccessRatio float64
}

// watch is what measures a member. A nil watch measures nothing.
type watch struct {
	reg    *telemetry.Registry
	tracer *telemetry.Tracer
	access *telemetry.Access
	cloud  string
	own    func() (security.PeerID, error)

	rpcs     *telemetry.Group[string]
	requests *telemetry.Group[telemetry.HTTPKey]
	service  string
}

// openTelemetry makes the watch, if somebody wants to know.
func (m *Mesh) openTelemetry() error {
	c := m.cfg
	if c.MeterProvider == nil && c.TracerProvider == nil && c.Telemetry.AccessLog == nil {
		return nil
	}
	w := &watch{cloud: c.Locality.Cloud, service: c.Service, own: func() (security.PeerID, error) {
		svid, err := m.identity.GetX509SVID()
		if err != nil {
			return security.PeerID{}, err
		}
		return security.PeerID{ID: svid.ID}, nil
	}}
	w.reg = telemetry.NewRegistry(telemetry.Config{
		Service:        c.Service,
		Locality:       c.Locality,
		MaxMethods:     c.Telemetry.MaxMethods,
		EndpointLabels: c.Telemetry.EndpointLabels,
		Slow:           c.TracerProvider != nil && c.Telemetry.Retroactive,
	})
	w.rpcs, w.requests = w.reg.RPCServer(), w.reg.HTTPServer()
	if c.TracerProvider != nil {
		w.tracer = telemetry.NewTracer(c.TracerProvider, telemetry.TraceConfig{
			Ratio:          c.Telemetry.TraceRatio,
			Retroactive:    c.Telemetry.Retroactive,
			ForeignBaggage: c.Telemetry.ForeignBaggage,
		}, w.reg)
	}
	w.access = telemetry.NewAccess(c.Telemetry.AccessLog, c.Telemetry.AccessRatio)
	w.reg.Observe(m.observeRegistry)
	w.reg.Observe(m.observeIdentity)
	w.reg.Observe(m.observeBalancers)
	w.reg.Observe(m.to.observe)
	m.watch, m.to.watch = w, w
	if c.MeterProvider == nil {
		return nil
	}
	stop, err := telemetry.Bridge(w.reg, c.MeterProvider)
	if err != nil {
		return fmt.Errorf("mesh: Config.MeterProvider: %w", err)
	}
	m.onLeave(func(context.Context) error { stop(); return nil })
	return nil
}

// registry is nil, whose methods do nothing, for a nil watch.
func (w *watch) registry() *telemetry.Registry {
	if w == nil {
		return nil
	}
	return w.reg
}

// seen is what is counted of the calls to one service.
type seen struct {
	w       *watch
	service string
	rpcs    *telemetry.Group[string]
	https   *telemetry.Group[string]
	places  *telemetry.Places
	foreign atomic.Bool // an endpoint of another trust domain was listed
}

// destination counts the calls to a service from here on.
func (w *watch) destination(service string, to *destination) {
	if w == nil {
		return
	}
	name := cmp.Or(service, telemetry.Other)
	s := &seen{w: w, service: name, rpcs: w.reg.RPCClient(name), https: w.reg.HTTPClient(name), places: w.reg.Places(name)}
	to.seen = s
	next := to.balancer.Observe
	to.balancer.Observe = func(n *balancer.Node, o resilience.Outcome, took time.Duration) {
		s.places.Record(n.Endpoint(), o, took)
		if next != nil {
			next(n, o, took)
		}
	}
}

// noticing is keep, which also notices services with endpoints in other trust
// domains: baggage must not go there.
func (m *Mesh) noticing(keep func(*resolver.Endpoint) bool) func(*resolver.Endpoint) bool {
	if m.watch == nil || m.watch.tracer == nil {
		return keep
	}
	return func(e *resolver.Endpoint) bool {
		own, err := m.watch.own()
		if err != nil || !strings.HasPrefix(m.peerID(e), "spiffe://"+own.TrustDomain().Name()+"/") {
			m.to.of(e.Service).seen.foreign.Store(true)
		}
		return keep(e)
	}
}

// stranger reports whether a caller is of another trust domain.
func (w *watch) stranger(p security.PeerID, known bool) bool {
	own, err := w.own()
	return !known || err != nil || !p.MemberOf(own.TrustDomain())
}

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

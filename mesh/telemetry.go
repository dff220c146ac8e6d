package mesh

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	// decides on those that are left. Calls within a trace follow it. 0: WEFT_TRACE_RATIO,
	// where 0 is none, or 0.01; negative: none; at most 1.
	TraceRatio float64
	// Retroactive leaves a span of a call that was not sampled and failed, or took
	// longer than 99 % of its method's: at most 10 a second, without those of its
	// attempts. Its attribute mesh.retroactive says why, for the provider's sampler.
	// false: WEFT_TRACE_RETROACTIVE, else none.
	Retroactive bool
	// ForeignBaggage lets W3C baggage pass to and from services of other trust domains;
	// within the own one it always passes, up to 8 KiB. false: WEFT_FOREIGN_BAGGAGE, else
	// it ends there.
	ForeignBaggage bool
	// MaxMethods is how many methods of one service are told apart in metrics, and
	// paths' patterns of the own server; the others are _OTHER. 0: WEFT_MAX_METHODS or 200.
	MaxMethods int
	// EndpointLabels counts attempts for each endpoint's address. It multiplies the
	// number of series. false: WEFT_ENDPOINT_LABELS, else for each cloud and zone.
	EndpointLabels bool
	// AccessLog takes a record named "access" for each failed call and a share of
	// the others, with the reasons in "flags"; at most 100 a second. nil: none.
	AccessLog *slog.Logger
	// AccessRatio is the share of successful calls in AccessLog. 0: WEFT_ACCESS_RATIO,
	// where 0 is none, or 0.01; negative: none; at most 1.
	AccessRatio float64
}

// watch is what measures a member. A nil watch measures nothing.
type watch struct {
	reg    *telemetry.Registry
	tracer *telemetry.Tracer
	access *telemetry.Access
	cloud  string
	own    func() (security.PeerID, error)

	foreign  atomic.Bool // an endpoint of another trust domain was listed, of any service
	breakers sync.Map    // [2]string of service and cloud to resilience.BreakerState

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

func (s *seen) registry() *telemetry.Registry {
	if s == nil {
		return nil
	}
	return s.w.reg
}

// seen is what is counted of the calls to one service.
type seen struct {
	w       *watch
	service string
	rpcs    *telemetry.Group[string]
	https   *telemetry.Group[string]
	places  *telemetry.Places
	foreign atomic.Bool // an endpoint of another trust domain was listed
	routed  bool        // calls may go to other services' endpoints
}

// stranger reports whether a call may end up in another trust domain.
func (s *seen) stranger() bool { return s.foreign.Load() || s.routed && s.w.foreign.Load() }

// destination counts the calls to a service from here on.
func (w *watch) destination(service string, to *destination, routed bool) {
	if w == nil {
		return
	}
	name := cmp.Or(service, telemetry.Other)
	to.seen = &seen{w: w, service: name, rpcs: w.reg.RPCClient(name), https: w.reg.HTTPClient(name), places: w.reg.Places(name), routed: routed}
	to.balancer.Observe = to.seen.observe(to.balancer.Observe)
}

// observe counts the attempts that a balancer tells of, and tells next.
func (s *seen) observe(next func(*balancer.Node, resilience.Outcome, time.Duration)) func(*balancer.Node, resilience.Outcome, time.Duration) {
	if s == nil {
		return next
	}
	return func(n *balancer.Node, o resilience.Outcome, took time.Duration) {
		s.places.Record(n.Endpoint(), o, took)
		if next != nil {
			next(n, o, took)
		}
	}
}

// breaker keeps the state of a breaker.
func (w *watch) breaker(ch resilience.BreakerChange) {
	if w != nil {
		w.breakers.Store([2]string{ch.Service, ch.Cloud}, ch.To)
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
			m.watch.foreign.Store(true)
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

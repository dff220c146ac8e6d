package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
)

// maxDestinations bounds how many services have state of their own; URLs name
// services too. Services beyond it share one.
const maxDestinations = 4096

// destination is what all calls to one service share, over gRPC and HTTP and any
// number of connections: the loop with its budget, and the eyes on its endpoints.
type destination struct {
	policy   ServicePolicy
	budget   *resilience.Budget
	way      *way       // of all calls, or, with a router, what its ways have in common
	router   *router    // nil: no chain is asked
	plain    *laneState // nil as router
	balancer balancer.Config
	seen     *seen // nil: nothing is measured

	exhausted func(*resilience.Info) // of the budget
}

// destinations makes destinations when they are first called.
type destinations struct {
	byName   map[string]ServicePolicy
	fallback ServicePolicy
	base     balancer.Config // of all
	see      seams
	http     sender   // below the gates; set before the first call
	route    *routing // nil: there are no chains
	log      *slog.Logger
	watch    *watch // nil: nothing is measured
	shifts   shifts

	mu       sync.RWMutex
	made     map[string]*destination
	outliers []*resilience.Outlier
}

// newDestinations refuses a policy that makes no sense, by its service and field.
func newDestinations(cfg *resolved) (*destinations, error) {
	if err := cfg.Policy.check(); err != nil {
		return nil, fmt.Errorf("mesh: Config.Policy: %w", err)
	}
	for name, policy := range cfg.Services {
		if err := policy.check(); err != nil {
			return nil, fmt.Errorf("mesh: Config.Services[%q]: %w", name, err)
		}
	}
	d := &destinations{byName: cfg.Services, fallback: cfg.Policy, base: cfg.Balancer, see: cfg.see, log: cfg.Logger, made: map[string]*destination{}}
	d.base.OnShift = both(guarded(d.log, "Config.Balancer.OnShift", d.base.OnShift), d.shiftEvent)
	return d, nil
}

// of is the destination of a service, the same for all its calls.
func (d *destinations) of(service string) *destination {
	d.mu.RLock()
	to := d.made[service]
	d.mu.RUnlock()
	if to != nil {
		return to
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, named := d.byName[service]; !named && len(d.made) >= maxDestinations {
		service = ""
	}
	if to = d.made[service]; to == nil {
		to = d.make(service)
		d.made[service] = to
	}
	return to
}

// make builds a destination. The errors are those that newDestinations looked for.
func (d *destinations) make(service string) *destination {
	policy, named := d.byName[service]
	if !named {
		policy = d.fallback
	}
	to := &destination{policy: policy, balancer: d.base, exhausted: exhausted(d.log, service)}
	to.budget, _ = resilience.NewBudget(policy.Budget)
	w := &way{service: service, idempotent: policy.Idempotent}
	layers, _ := policy.callLayers()
	w.gates = d.see.gates(layers)
	w.loop, _ = policy.loop(to.budget, to.exhausted)
	if gates := d.see.gates(policy.attemptLayers()); len(gates) > 0 {
		w.attempt = resilience.NewChain(gates...)
		to.balancer.Gate = w.attempt
	}
	if o := d.eyes(service, policy, &to.balancer); o != nil {
		d.outliers = append(d.outliers, o)
	}
	d.watch.destination(service, to, d.route != nil)
	to.way = d.open(w)
	if d.route != nil && service != "" { // those without state of their own have no chain
		to.plain = plainLane(service, to)
		to.router = d.route.router(service, to)
	}
	return to
}

// open adds the faces of a way.
func (d *destinations) open(w *way) *way {
	w.rpc = w.openRPC()
	w.http = w.openHTTP(d.http)
	return w
}

// eyes gives a service, or a lane of one, its outlier detection and breakers, unless
// cfg has others. It returns the Outlier that it made, which is to be closed; nil: none.
func (d *destinations) eyes(name string, policy ServicePolicy, cfg *balancer.Config) (o *resilience.Outlier) {
	if !policy.NoOutlier && cfg.Outlier == nil {
		oc := policy.Outlier
		oc.OnEvent = both(guarded(d.log, "ServicePolicy.Outlier.OnEvent", oc.OnEvent), func(ev resilience.OutlierEvent) { d.outlierEvent(name, ev) })
		o, _ = resilience.NewOutlier(oc)
		cfg.Outlier = o
	}
	if !policy.NoBreaker && cfg.Observe == nil {
		bc := policy.Breaker
		store := d.base.Store
		bc.OnChange = both(guarded(d.log, "ServicePolicy.Breaker.OnChange", bc.OnChange), func(ch resilience.BreakerChange) {
			store.CloseCloud(ch.Service, ch.Cloud, ch.Until)
			d.breakerEvent(ch)
		})
		breakers, _ := resilience.NewBreakerSet(bc, 0)
		w := &watcher{service: name, breakers: breakers}
		cfg.Observe = w.observe
	}
	return o
}

// watcher feeds the attempts that have ended to the breakers of their clouds. The
// breakers refuse nothing here: they act by closing a cloud to the balancer.
type watcher struct {
	service  string
	breakers *resilience.BreakerSet
	home     atomic.Pointer[watchedCloud] // the first cloud, which most calls go to: no look-up
}

type watchedCloud struct {
	in      resilience.Info
	breaker *resilience.Breaker
}

func (w *watcher) observe(n *balancer.Node, o resilience.Outcome, _ time.Duration) {
	cloud := n.Endpoint().Locality.Cloud
	at := w.home.Load()
	if at == nil || at.in.Cloud != cloud {
		at = &watchedCloud{resilience.Info{Service: w.service, Cloud: cloud}, w.breakers.Breaker(w.service, cloud)}
		if at.breaker == nil {
			return
		}
		w.home.CompareAndSwap(nil, at)
	}
	if done, err := at.breaker.Enter(context.Background(), &at.in); err == nil {
		done(o)
	}
}

func both[E any](first, second func(E)) func(E) {
	if first == nil {
		return second
	}
	return func(e E) { first(e); second(e) }
}

func (d *destinations) outlierEvent(service string, ev resilience.OutlierEvent) {
	switch ev.Kind {
	case resilience.Ejected:
		d.watch.registry().Ejected(service)
		d.log.Warn("endpoint.ejected", "service", service, "endpoint", ev.Endpoint, "reason", ev.Reason, "until", ev.Until)
	case resilience.Returned:
		d.log.Info("endpoint.restored", "service", service, "endpoint", ev.Endpoint)
	case resilience.ZoneDegraded:
		d.log.Warn("zone.degraded", "service", service, "zone", ev.Zone, "reason", ev.Reason, "until", ev.Until)
	case resilience.ZoneRestored:
		d.log.Info("zone.restored", "service", service, "zone", ev.Zone)
	}
}

func (d *destinations) breakerEvent(ch resilience.BreakerChange) {
	log := d.log.Info
	event := "breaker.closed"
	switch ch.To {
	case resilience.BreakerOpen:
		log, event = d.log.Warn, "breaker.opened"
	case resilience.BreakerHalfOpen:
		event = "breaker.half_open"
	}
	d.watch.breaker(ch)
	log(event, "service", ch.Service, "cloud", ch.Cloud, "from", ch.From.String())
}

// endCopies ends the copies that are under way, and waits for them.
func (d *destinations) endCopies() {
	if d.route != nil {
		d.route.copies.close()
	}
}

// close ends what runs for the destinations. No call may begin after it.
func (d *destinations) close() {
	if d.route != nil {
		d.route.close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, to := range d.made {
		if to.router != nil {
			if t := to.router.table.Load(); t != nil {
				t.drop(nil)
			}
		}
	}
	for _, o := range d.outliers {
		o.Close()
	}
}

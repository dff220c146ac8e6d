package mesh

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver/chain"
)

// routing makes the routers of the services that are called.
type routing struct {
	m      *Mesh
	d      *destinations
	copies tasks // of calls that are mirrored
	marks  marks
	source chain.Source
	log    *slog.Logger
	ctx    context.Context // ends with the mesh
	cancel context.CancelFunc
	wg     sync.WaitGroup

	own atomic.Pointer[own] // nil: not known yet

	mu      sync.Mutex
	mirrors map[string]*mirror
}

func newRouting(m *Mesh, source chain.Source) *routing {
	r := &routing{m: m, d: m.to, source: source, log: m.log, marks: marks{catalog: m.catalog}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.copies.ctx, r.copies.cancel = context.WithCancel(r.ctx)
	return r
}

// close ends all watches and waits for them.
func (g *routing) close() {
	g.cancel()
	g.copies.close()
	g.wg.Wait()
}

func (g *routing) router(service string, to *destination) *router {
	return &router{
		service: service, to: to, source: g.source, build: g.build, keep: g.marks.keep, log: g.log, wg: &g.wg, stop: g.ctx,
		changed: make(chan struct{}), connect: cmp.Or(g.d.base.ConnectTimeout, g.m.cfg.ConnectTimeout),
		guard: chain.NewGuard(chain.GuardConfig{OnEvent: func(ev chain.GuardEvent) { g.guardEvent(service, ev) }}),
	}
}

func (g *routing) guardEvent(service string, ev chain.GuardEvent) {
	log := g.log.Info
	event := "canary.restored"
	switch ev.Kind {
	case chain.TakenOut:
		log, event = g.log.Warn, "canary.taken_out"
	case chain.Returning:
		event = "canary.returning"
	}
	log(event, "service", service, "target", ev.Target, "reason", ev.Reason)
}

// build makes a table of a chain. What old has already is kept: a lane with the same
// name keeps its connections.
func (g *routing) build(r *router, c *chain.Chain, old *routes) (*routes, []chain.Problem, error) {
	e, problems, err := chain.New(c, chain.Options{Policy: r.to.policy.Traffic, Guard: r.guard, Active: r.to.policy.Active})
	if err != nil {
		return nil, nil, err
	}
	up, bad := g.upstream(r.service)
	problems = append(problems, bad...)
	policy := withUpstream(r.to.policy, up)
	faults, err := faultGates(e.Policy().Fault)
	if err != nil {
		return nil, nil, err
	}
	t := &routes{eval: e, ways: map[*chain.Plan]*way{}, states: map[string]*laneState{}}
	gates := append(g.d.see.gates(faults), r.to.way.gates...)
	places, err := r.limit(policy)
	if err != nil {
		return nil, nil, err
	}
	if places != nil {
		gates = append(gates, g.d.see.gates([]layer{{"places", places}})...)
	}
	eyes := up != nil && up.PassiveHealthCheck != nil
	guarded := map[string]*chain.Plan{}
	for _, p := range e.Plans() {
		name := ""
		if eyes || !plain(e, p, r.service) {
			name = laneName(e, p)
		}
		if eyes {
			name += "|" + up.String()
		}
		s := t.states[name]
		switch {
		case s != nil:
		case name == "":
			s = r.to.plain
		case old != nil:
			s = old.states[name]
		}
		if s == nil {
			if s, err = g.d.newLane(r, policy, name, e, p); err != nil {
				t.drop(old)
				return nil, nil, err
			}
		}
		if t.states[name] == nil {
			t.add(s).ConnectTimeout = connectTimeout(e, p)
			problems = append(problems, s.problems...)
		}
		t.allow(name, connectTimeout(e, p), r.connect)
		if p.Split() {
			guarded[name] = p
		}
		w := &way{service: r.service, lane: s.lane.Name, gates: gates, attempt: r.to.way.attempt, idempotent: r.to.policy.Idempotent, plan: p}
		if w.loop, err = loopFor(r.to.policy, r.to.budget, r.to.exhausted, e, p); err != nil {
			t.drop(old)
			return nil, nil, err
		}
		t.ways[p] = g.d.open(w)
	}
	if to := e.Policy().Mirror; to.Service != "" {
		t.mirror = g.mirror(to.Service)
		for _, w := range t.ways {
			w.mirror = t.mirror
		}
	}
	for name, s := range t.states {
		s.guarded.Store(guarded[name])
	}
	t.own = len(t.lanes)
	t.inherit(old, time.Now())
	for _, s := range t.states {
		for _, name := range s.services {
			t.services = with(t.services, name)
		}
	}
	slices.Sort(t.services)
	for _, s := range t.order {
		t.marks = append(t.marks, s.marks...)
	}
	return t, problems, nil
}

// How long lanes outlive the last table that had them, and how many do: calls that
// were decided by that table may still have attempts to make.
const (
	laneLinger = 30 * time.Second
	laneRelics = 32
)

// inherit takes the lanes over that calls of the tables before may need: those of the
// last one until the next, so that switching back finds them connected, and those of
// the ones before it for a while.
func (t *routes) inherit(old *routes, now time.Time) {
	if old == nil {
		return
	}
	for i, s := range old.order {
		switch {
		case t.states[s.key] != nil:
			continue
		case i < old.own:
			s.left = now
		case now.Sub(s.left) > laneLinger || len(t.lanes)-t.own >= laneRelics:
			continue
		}
		t.add(s).ConnectTimeout = old.lanes[i].ConnectTimeout
	}
}

func (t *routes) add(s *laneState) *balancer.Lane {
	t.states[s.key] = s
	t.order = append(t.order, s)
	t.lanes = append(t.lanes, s.lane)
	return &t.lanes[len(t.lanes)-1]
}

// allow gives a lane at least so long for a connection. Plans of one lane share its
// connections, so the longest of their timeouts is the lane's: a shorter one would keep
// calls of the others from an endpoint that they have time for.
func (t *routes) allow(key string, d, otherwise time.Duration) {
	i := slices.IndexFunc(t.order, func(s *laneState) bool { return s.key == key })
	t.lanes[i].ConnectTimeout = longer(t.lanes[i].ConnectTimeout, d, otherwise)
}

// mirror is what sends copies to a service, shared by all that mirror to it.
func (g *routing) mirror(service string) *mirror {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.mirrors[service]
	if m == nil {
		m = &mirror{m: g.m, service: service}
		if g.mirrors == nil {
			g.mirrors = map[string]*mirror{}
		}
		g.mirrors[service] = m
	}
	return m
}

// balancerFor is the configuration of a service's own lane, for HTTP.
func (d *destinations) balancerFor(service string) balancer.Config {
	if cfg, ok := d.laneFor(service, ""); ok {
		return cfg
	}
	return d.of(service).balancer
}

// laneFor is the configuration of a lane, for HTTP.
func (d *destinations) laneFor(service, lane string) (balancer.Config, bool) {
	to := d.of(service)
	if to.router == nil {
		return balancer.Config{}, false
	}
	if t := to.router.table.Load(); t != nil {
		for _, l := range t.lanes {
			if l.Name == lane {
				cfg := *l.Config
				cfg.ConnectTimeout = cmp.Or(l.ConnectTimeout, cfg.ConnectTimeout)
				return cfg, true
			}
		}
	}
	return balancer.Config{}, false
}

// decided is what a chain says of one call.
type decided struct {
	*way
	chain.Decision
}

// decide asks the chain about a call.
func (r *router) decide(ctx context.Context, fill func(*chain.Evaluator) chain.Request) (decided, error) {
	t, err := r.current(ctx)
	if err != nil {
		return decided{}, err
	}
	var d chain.Decision
	if t.eval.ReadsRequest() {
		req := fill(t.eval)
		req.Key = stickyKey(ctx)
		d = t.eval.Route(&req)
	} else {
		d = t.eval.Route(&chain.Request{})
	}
	if d.Plan == nil {
		return decided{}, errNoRoute(r.service)
	}
	return decided{way: t.ways[d.Plan], Decision: d}, nil
}

func errNoRoute(service string) error {
	return &routeError{service}
}

// routeError is the error of a call that no route of the chain matches.
type routeError struct{ service string }

func (e *routeError) Error() string {
	return "mesh: no route of service " + e.service + "'s router matches the call"
}

func (e *routeError) Unwrap() error { return chain.ErrNoRoute }

func with(list []string, s string) []string {
	for _, x := range list {
		if x == s {
			return list
		}
	}
	return append(list, s)
}

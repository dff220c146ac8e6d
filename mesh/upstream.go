package mesh

import (
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver/chain"
)

// own is what this process's own service-defaults entry says of its calls.
type own struct {
	entry    *chain.ServiceDefaults
	problems []chain.Problem
}

// followOwn keeps up with the entry, and makes the routers make their tables anew
// when it changes.
func (g *routing) followOwn() {
	src, ok := g.source.(chain.DefaultsSource)
	if !ok {
		return
	}
	g.wg.Go(func() {
		_ = src.WatchDefaults(g.ctx, g.m.cfg.Service, func(d *chain.ServiceDefaults, problems []chain.Problem) {
			g.own.Store(&own{d, problems})
			g.d.mu.RLock()
			var all []*router
			for _, to := range g.d.made {
				if to.router != nil {
					all = append(all, to.router)
				}
			}
			g.d.mu.RUnlock()
			for _, r := range all {
				r.refresh()
			}
		})
	})
}

// upstream is what the entry says of calls to a service, and what of it is not done.
func (g *routing) upstream(service string) (*chain.Upstream, []chain.Problem) {
	o := g.own.Load()
	if o == nil {
		return nil, nil
	}
	u := o.entry.Upstream(service)
	problems := o.problems
	if u == nil {
		return nil, problems
	}
	report := func(on bool, field, why string) {
		if on {
			problems = append(problems, chain.Problem{Kind: chain.KindServiceDefaults, Name: g.m.cfg.Service, Field: "UpstreamConfig." + field, Why: why})
		}
	}
	report(u.ConnectTimeoutMs > 0 && time.Duration(u.ConnectTimeoutMs)*time.Millisecond != g.m.cfg.ConnectTimeout, "ConnectTimeoutMs",
		"connections are bounded by Config.ConnectTimeout, "+g.m.cfg.ConnectTimeout.String()+", or by the service-resolver of the called service")
	report(u.MeshGateway.Mode != "" && u.MeshGateway.Mode != "none", "MeshGateway.Mode", "instances are dialled directly, or by the address that the catalog gives for a peer")
	report(u.Protocol != "", "Protocol", "the protocol of a service is what its instances speak")
	if l := u.Limits; l != nil {
		report(l.MaxConnections != nil, "Limits.MaxConnections", "gRPC and HTTP/2 have one connection to each instance; use MaxConcurrentRequests")
		report(l.MaxPendingRequests != nil, "Limits.MaxPendingRequests", "nothing queues here: calls over MaxConcurrentRequests are refused at once")
	}
	if p := u.PassiveHealthCheck; p != nil {
		report(p.ConsecutiveGatewayFailure != nil, "PassiveHealthCheck.ConsecutiveGatewayFailure", "failures of the gateway kind count with all others")
		report(p.EnforcingConsecutiveGatewayFailure != nil, "PassiveHealthCheck.EnforcingConsecutiveGatewayFailure", "failures of the gateway kind count with all others")
		e := p.EnforcingConsecutive5xx
		report(e != nil && *e != 0 && *e != 100, "PassiveHealthCheck.EnforcingConsecutive5xx", "it is on or off here; more than 0 is taken for 100")
	}
	return u, problems
}

// withUpstream is a policy with what the caller's own entry says; a field that the
// policy sets itself stays.
func withUpstream(policy ServicePolicy, u *chain.Upstream) ServicePolicy {
	if u == nil {
		return policy
	}
	if p := u.PassiveHealthCheck; p != nil {
		o := &policy.Outlier
		failures := p.MaxFailures
		if p.Consecutive5xx != nil {
			failures = *p.Consecutive5xx
		}
		if o.Consecutive == 0 && failures > 0 {
			o.Consecutive = int(min(failures, 1<<20))
		}
		if e := p.EnforcingConsecutive5xx; o.Consecutive == 0 && e != nil && *e == 0 {
			o.Consecutive = -1
		}
		if o.Interval == 0 && p.Interval >= 10*time.Millisecond {
			o.Interval = p.Interval
		}
		if o.BaseEjection == 0 && p.BaseEjectionTime != nil && *p.BaseEjectionTime >= time.Millisecond {
			o.BaseEjection = *p.BaseEjectionTime
		}
		if o.MaxShare == 0 && p.MaxEjectionPercent != nil && *p.MaxEjectionPercent > 0 {
			o.MaxShare = float64(min(*p.MaxEjectionPercent, 100)) / 100
		}
	}
	if l := u.Limits; l != nil && policy.Concurrency == nil && l.MaxConcurrentRequests != nil && *l.MaxConcurrentRequests > 0 {
		policy.Concurrency = &resilience.ConcurrencyConfig{Limit: *l.MaxConcurrentRequests}
	}
	return policy
}

// limit is the gate of a limit that the entry sets; it outlives tables, so that calls
// under way keep their places. nil: there is none.
func (r *router) limit(policy ServicePolicy) (resilience.Gate, error) {
	c := policy.Concurrency
	if c == nil || r.to.policy.Concurrency != nil { // the policy's own is in its layers
		r.places = nil
		return nil, nil
	}
	if r.places == nil || r.placesOf != c.Limit {
		l, err := resilience.NewConcurrencyLimit(*c)
		if err != nil {
			return nil, err
		}
		r.places, r.placesOf = l, c.Limit
	}
	return r.places, nil
}

package chain

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// compiledConnect is the ConnectTimeout of chains whose entries do not say.
const compiledConnect = 5 * time.Second

// plan compiles the way over a route, if there is one, to a resolver. lb has the
// hash policies; the policy itself is the resolver's.
func (b *evalCompiler) plan(n *Node, via *Route, lb *LoadBalancer, index int, m *matcher) (*Plan, error) {
	if b.plans++; b.plans > maxPlans {
		return nil, fmt.Errorf("resolver/chain: %s: routes times splits make more than %d ways", clip(b.c.ServiceName), maxPlans)
	}
	r := n.Resolver
	if r == nil {
		return nil, fmt.Errorf("resolver/chain: resolver %q has no Resolver", clip(n.Name))
	}
	t := b.c.Targets[r.Target]
	if t == nil {
		return nil, fmt.Errorf("resolver/chain: resolver %q: Target %q is not in Targets", clip(n.Name), clip(r.Target))
	}
	p := &Plan{Target: t, Route: index, Branch: -1, LoadBalancer: n.LoadBalancer}
	if p.ConnectTimeout = cmp.Or(r.ConnectTimeout, t.ConnectTimeout); r.Default && p.ConnectTimeout == compiledConnect {
		p.ConnectTimeout = 0 // Consul fills it in where no entry says anything
	}
	p.hash = b.hashPolicies(lb, t.Service)
	if r.Failover != nil {
		for i, id := range r.Failover.Targets {
			f := b.c.Targets[id]
			if f == nil {
				return nil, fmt.Errorf("resolver/chain: resolver %q: Failover.Targets[%d] %q is not in Targets", clip(n.Name), i, clip(id))
			}
			p.Failover = append(p.Failover, f)
		}
		if pol := r.Failover.Policy; pol != nil && pol.Mode != "" && pol.Mode != "sequential" {
			b.p.add(kindResolver, t.Service, "Failover.Policy.Mode", clip(pol.Mode)+" is not done: targets are tried in their order; for locality set the key "+KeyLocalityFailover)
		}
		if pol := r.Failover.Policy; pol != nil && len(pol.Regions) > 0 {
			b.p.add(kindResolver, t.Service, "Failover.Policy.Regions", "failover by region is not done: targets are tried in their order")
		}
	}
	b.resolverTimeout(p, r)
	if via != nil && via.Definition != nil && via.Definition.Destination != nil {
		b.destination(p, via.Definition.Destination, m, "Routes["+strconv.Itoa(index)+"].Destination")
	}
	return p, nil
}

// resolverTimeout: in Envoy the timeout belongs to the route, and Consul fills in
// the resolver's only where there is neither router nor splitter.
func (b *evalCompiler) resolverTimeout(p *Plan, r *Resolver) {
	if r.RequestTimeout == 0 {
		return
	}
	start := b.c.Nodes[b.c.StartNode]
	if start.Type == ResolverNode || b.e.profile.ResolverTimeout {
		p.RequestTimeout = r.RequestTimeout
		return
	}
	b.p.add(kindResolver, p.Target.Service, "RequestTimeout", "it has no effect behind a router or a splitter in profile consul, as in Envoy; set it in the route, or use profile safe")
}

// destination compiles what a route says of its calls.
func (b *evalCompiler) destination(p *Plan, d *RouteDestination, m *matcher, at string) {
	name := b.e.router
	if d.RequestTimeout != 0 {
		p.RequestTimeout = d.RequestTimeout
	}
	if p.IdleTimeout = d.IdleTimeout; d.IdleTimeout != 0 && !b.opt.IdleTimeout {
		b.p.add(kindRouter, name, at+".IdleTimeout", "the time without a byte is not bounded; use RequestTimeout")
	}
	p.Retry = b.retry(d, name, at)
	p.RequestEdits = b.edits(nil, d.RequestHeaders, kindRouter, name, at+".RequestHeaders")
	p.ResponseEdits = b.edits(nil, d.ResponseHeaders, kindRouter, name, at+".ResponseHeaders")
	if d.PrefixRewrite == "" {
		return
	}
	plain, err := url.PathUnescape(d.PrefixRewrite)
	if err != nil {
		b.p.add(kindRouter, name, at+".PrefixRewrite", "it has a broken escape (a % without two hex digits); nothing is rewritten")
		return
	}
	p.rewrite = (&url.URL{Path: plain, RawPath: d.PrefixRewrite}).EscapedPath()
	switch m.kind {
	case exactPath, regexPath:
		p.whole = true
	case prefixPath:
		p.cut = len(m.path)
	case anyPath:
		p.cut = 1
	}
}

// targets reports what cannot be done for a target.
func (b *evalCompiler) targets() {
	for _, id := range slices.Sorted(maps.Keys(b.c.Targets)) {
		t := b.c.Targets[id]
		if t == nil {
			continue
		}
		at := "Targets[" + id + "]"
		if mode := t.MeshGateway.Mode; mode != "" && mode != "none" && !b.opt.MeshGateways {
			b.p.add(kindResolver, t.Service, at+".MeshGateway.Mode", "mode "+clip(mode)+" is not done: instances are dialled directly, or by the address that the catalog gives for a peer")
		}
		if t.External {
			b.p.add(kindDefaults, t.Service, at+".External", "ExternalSNI is not used: the server must prove the SPIFFE ID of the catalog")
		}
		if t.Namespace != b.c.Namespace || t.Peer == "" && t.Partition != b.c.Partition {
			b.p.add(kindResolver, t.Service, at+".Namespace", "namespace "+clip(t.Namespace)+" in partition "+clip(t.Partition)+" is not that of the chain; the catalog source decides which one is asked")
		}
	}
}

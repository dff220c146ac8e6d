package chain

import (
	"strings"
)

func (c *chainCompiler) resolverNode(t *Target, from ref) (*Node, error) {
	n, r, err := c.resolve(t, from)
	if err != nil || r == nil {
		return n, err
	}
	if len(c.nodes) >= maxNodes {
		return nil, from.wrong("is one step more than the %d that a chain can have", maxNodes)
	}
	c.resolvers[n.Resolver.Target] = n
	c.nodes[n.key()] = n
	return n, c.addFailover(n, r)
}

// resolve follows redirects and default subsets from t on. The resolver is nil if
// the node is an old one. A new one is not recorded yet.
func (c *chainCompiler) resolve(t *Target, from ref) (*Node, *ServiceResolver, error) {
	var way []string
	seen := map[string]bool{}
	for {
		if err := c.enough(1); err != nil {
			return nil, nil, err
		}
		if old := c.resolvers[t.ID]; old != nil {
			return old, nil, nil
		}
		if t.Peer == "" {
			if err := c.speaks(t.Service); err != nil {
				return nil, nil, err
			}
		}
		r := c.view.resolvers[t.Service]
		if r == nil {
			r = &ServiceResolver{Name: t.Service}
		}
		way = append(way, t.ID)
		if seen[t.ID] {
			return nil, nil, entryWrong(r, "Redirect", "goes round in a circle: %s", clip(strings.Join(way, " -> ")))
		}
		seen[t.ID] = true
		if d := r.Redirect; d != nil {
			next := c.rewrite(t, Target{
				Service: d.Service, ServiceSubset: d.ServiceSubset, Namespace: d.Namespace,
				Partition: d.Partition, Datacenter: d.Datacenter, Peer: d.Peer,
			})
			if next.ID != t.ID {
				t, from = next, ref{r, "Redirect"}
				continue
			}
		}
		if t.ServiceSubset == "" && r.DefaultSubset != "" {
			t, from = c.rewrite(t, Target{ServiceSubset: r.DefaultSubset}), ref{r, "DefaultSubset"}
			continue
		}
		n, err := c.end(t, r, from)
		return n, r, err
	}
}

// end is the node of a target where the way ends.
func (c *chainCompiler) end(t *Target, r *ServiceResolver, from ref) (*Node, error) {
	if !r.hasSubset(t.ServiceSubset) {
		return nil, from.wrong("leads to subset %q, which is not one of the Subsets of service-resolver %q", clip(t.ServiceSubset), t.Service)
	}
	timeout := r.ConnectTimeout
	if timeout < 1 {
		timeout = DefaultConnectTimeout
	}
	if o := c.cfg.OverrideConnectTimeout; o > 0 && o != timeout {
		timeout, c.customized.timeout = o, true
	}
	t.ConnectTimeout = timeout
	t.Subset = r.Subsets[t.ServiceSubset]
	d := c.view.services[t.Service]
	if d != nil && d.ExternalSNI != "" {
		t.SNI, t.External = d.ExternalSNI, true
		for _, f := range []struct {
			name string
			set  bool
		}{{"Redirect", r.Redirect != nil}, {"Subsets", len(r.Subsets) > 0}, {"Failover", len(r.Failover) > 0}} {
			if f.set {
				return nil, entryWrong(r, f.name, "cannot be: service-defaults %q has an ExternalSNI, so the service is outside of the mesh", t.Service)
			}
		}
	}
	c.setGateway(t, d)
	c.retained[t.ID] = true
	return &Node{
		Type: ResolverNode,
		Name: t.ID,
		Resolver: &Resolver{
			Default: r.isDefault(), Target: t.ID,
			ConnectTimeout: timeout, RequestTimeout: r.RequestTimeout,
		},
		LoadBalancer: cloneOf(r.LoadBalancer),
	}, nil
}

func (c *chainCompiler) setGateway(t *Target, d *ServiceDefaults) {
	if t.External {
		t.MeshGateway = MeshGateway{}
		return
	}
	if d != nil {
		t.MeshGateway = d.MeshGateway
	}
	if p := c.view.proxy; p != nil && t.MeshGateway.Mode == "" {
		t.MeshGateway = p.MeshGateway
	}
	if o := c.cfg.OverrideMeshGateway; o.Mode != "" && o != t.MeshGateway {
		t.MeshGateway, c.customized.gateway = o, true
	}
}

func (e *ServiceResolver) isDefault() bool {
	return e.DefaultSubset == "" && len(e.Subsets) == 0 && e.Redirect == nil && len(e.Failover) == 0 &&
		e.ConnectTimeout == 0 && e.RequestTimeout == 0 && e.LoadBalancer == nil && e.PrioritizeByLocality == nil
}

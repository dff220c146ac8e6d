package chain

import (
	"fmt"
)

// addFailover lists where to go when the node's target has no healthy instance.
func (c *chainCompiler) addFailover(n *Node, r *ServiceResolver) error {
	t := c.targets[n.Resolver.Target]
	key := t.ServiceSubset
	f, ok := r.Failover[key]
	if !ok {
		key = "*"
		if f, ok = r.Failover[key]; !ok {
			return nil
		}
	}
	at := fmt.Sprintf("Failover[%q]", key)
	type hop struct {
		target *Target
		field  string
	}
	var hops []hop
	add := func(field string, to Target) {
		if next := c.rewrite(t, to); next.ID != t.ID { // not to itself
			hops = append(hops, hop{next, field})
		}
	}
	to := Target{Service: f.Service, ServiceSubset: f.ServiceSubset, Namespace: f.Namespace}
	switch {
	case len(f.Datacenters) > 0:
		for i, dc := range f.Datacenters {
			to.Datacenter = dc
			add(fmt.Sprintf("%s.Datacenters[%d]", at, i), to)
		}
	case len(f.Targets) > 0:
		for i, x := range f.Targets {
			add(fmt.Sprintf("%s.Targets[%d]", at, i), Target{
				Service: x.Service, ServiceSubset: x.ServiceSubset, Namespace: x.Namespace,
				Partition: x.Partition, Datacenter: x.Datacenter, Peer: x.Peer,
			})
		}
	default:
		add(at, to)
	}
	if len(hops) == 0 {
		return nil
	}
	out := &Failover{Policy: cloneOf(f.Policy)}
	if p := c.view.proxy; p != nil && out.Policy == nil {
		out.Policy = cloneOf(p.FailoverPolicy)
	}
	for _, h := range hops {
		// Redirects and default subsets count here too; failover of failover does not.
		next, _, err := c.resolve(h.target, ref{r, h.field})
		if err != nil {
			return err
		}
		out.Targets = append(out.Targets, next.Resolver.Target)
	}
	n.Resolver.Failover = out
	return nil
}

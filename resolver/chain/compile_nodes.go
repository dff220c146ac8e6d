package chain

import (
	"cmp"
	"fmt"
)

func serviceNodeName(service string) string { return service + "." + inDefault + "." + inDefault }

func (c *chainCompiler) routerNode(router *ServiceRouter) (string, error) {
	n := &Node{Type: RouterNode, Name: serviceNodeName(router.Name)}
	c.l7 = router
	if err := c.speaks(router.Name); err != nil {
		return "", err
	}
	for i := range router.Routes {
		def := cloneOf(&router.Routes[i])
		dest := RouteDestination{Service: c.service}
		if def.Destination != nil {
			dest = *def.Destination
		}
		from := ref{router, fmt.Sprintf("Routes[%d].Destination", i)}
		t := c.newTarget(Target{
			Service: cmp.Or(dest.Service, c.service), ServiceSubset: dest.ServiceSubset,
			Namespace: dest.Namespace, Partition: dest.Partition,
		})
		next := c.splitterOrResolver
		if dest.ServiceSubset != "" {
			next = c.resolverNode
		}
		to, err := next(t, from)
		if err != nil {
			return "", err
		}
		n.Routes = append(n.Routes, &Route{Definition: def, NextNode: to.key()})
	}
	rest, err := c.splitterOrResolver(c.newTarget(Target{Service: router.Name}), ref{router, "Name"})
	if err != nil {
		return "", err
	}
	n.Routes = append(n.Routes, &Route{
		Definition: &ServiceRoute{
			Match:       &RouteMatch{HTTP: &HTTPMatch{PathPrefix: "/"}},
			Destination: &RouteDestination{Service: router.Name, Namespace: inDefault, Partition: inDefault},
		},
		NextNode: rest.key(),
	})
	c.nodes[n.key()] = n
	return n.key(), nil
}

func (c *chainCompiler) splitterOrResolver(t *Target, from ref) (*Node, error) {
	if n, err := c.splitterNode(t.Service, from); n != nil || err != nil {
		return n, err
	}
	return c.resolverNode(t, from)
}

// splitterNode is nil if the service has no splitter.
func (c *chainCompiler) splitterNode(service string, from ref) (*Node, error) {
	if n := c.splitters[service]; n != nil {
		return n, nil
	}
	sp := c.view.splitters[service]
	if sp != nil && c.plain {
		sp, c.customized.protocol = nil, true
	}
	if sp == nil {
		return nil, nil
	}
	if len(c.nodes) >= maxNodes {
		return nil, from.wrong("is one step more than the %d that a chain can have", maxNodes)
	}
	n := &Node{Type: SplitterNode, Name: serviceNodeName(service)}
	c.splitters[service] = n // before its splits: they may lead back here
	c.nodes[n.key()] = n
	for i := range sp.Splits {
		def := cloneSplit(&sp.Splits[i])
		split := &Split{Definition: def, Weight: def.Weight}
		n.Splits = append(n.Splits, split)
		from := ref{sp, fmt.Sprintf("Splits[%d]", i)}
		to := cmp.Or(def.Service, service)
		if to != service && def.ServiceSubset == "" {
			next, err := c.splitterNode(to, from)
			if err != nil {
				return nil, err
			}
			if next != nil {
				split.NextNode = next.key()
				continue
			}
		}
		next, err := c.resolverNode(c.newTarget(Target{
			Service: to, ServiceSubset: def.ServiceSubset, Namespace: inDefault, Partition: inDefault,
		}), from)
		if err != nil {
			return nil, err
		}
		split.NextNode = next.key()
		// Requests are hashed before they are split: the first hash policy counts.
		if n.LoadBalancer == nil && next.LoadBalancer.hashes() {
			n.LoadBalancer = next.LoadBalancer
		}
	}
	c.l7 = sp
	return n, nil
}

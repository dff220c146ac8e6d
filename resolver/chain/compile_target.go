package chain

import (
	"cmp"
	"strings"
)

// newTarget is the target of a chain that t's names describe, made if need be.
func (c *chainCompiler) newTarget(t Target) *Target {
	t = Target{
		Service: t.Service, ServiceSubset: t.ServiceSubset, Peer: t.Peer,
		Namespace: cmp.Or(t.Namespace, inDefault), Partition: cmp.Or(t.Partition, inDefault), Datacenter: t.Datacenter,
	}
	parts := []string{t.Service, t.Namespace, t.Partition}
	if t.Peer != "" {
		// The SNI is the peer's to say, with its own trust domain.
		t.Datacenter, t.Partition = "", inDefault
		t.ID = strings.Join([]string{t.Service, t.Namespace, t.Partition, "external", t.Peer}, ".")
	} else {
		t.Datacenter = cmp.Or(t.Datacenter, c.cfg.Datacenter)
		if t.ServiceSubset != "" {
			parts = append([]string{t.ServiceSubset}, parts...)
		}
		t.ID = strings.Join(append(parts, t.Datacenter), ".")
		t.SNI = t.serverName(c.cfg.TrustDomain)
		t.Name = t.SNI
	}
	if old := c.targets[t.ID]; old != nil {
		return old
	}
	if l, ok := c.cfg.PeerLocality[t.Peer]; ok && t.Peer != "" {
		t.Locality = &l
	}
	c.targets[t.ID] = &t
	return &t
}

// serverName is the TLS server name that mesh gateways route by.
func (t *Target) serverName(trustDomain string) string {
	var parts []string
	if t.ServiceSubset != "" {
		parts = append(parts, t.ServiceSubset)
	}
	parts = append(parts, t.Service, t.Namespace)
	inside := "internal"
	if t.Partition != inDefault {
		parts = append(parts, t.Partition)
		inside = "internal-v1"
	}
	return strings.Join(append(parts, t.Datacenter, inside, trustDomain), ".")
}

// rewrite is the target with what is set in to; another service begins with its
// default subset.
func (c *chainCompiler) rewrite(t *Target, to Target) *Target {
	n := *t
	if to.Service != "" && to.Service != n.Service {
		n.Service, n.ServiceSubset = to.Service, ""
	}
	n.ServiceSubset = cmp.Or(to.ServiceSubset, n.ServiceSubset)
	n.Partition = cmp.Or(to.Partition, n.Partition)
	if to.Namespace != "" || to.Peer != "" {
		n.Namespace = to.Namespace
	}
	n.Datacenter = cmp.Or(to.Datacenter, n.Datacenter)
	n.Peer = to.Peer
	return c.newTarget(n)
}

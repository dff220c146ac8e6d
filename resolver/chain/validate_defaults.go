package chain

import (
	"fmt"
	"net/netip"
	"strings"
)

func validateServiceDefaults(e *ServiceDefaults) error {
	if e.Protocol != "" && !knownProtocol(e.Protocol) {
		return entryWrong(e, "Protocol", "%q is not one of tcp, http, http2, grpc and empty", clip(e.Protocol))
	}
	if e.UpstreamConfig != nil && e.Destination != nil {
		return entryWrong(e, "Destination", "and UpstreamConfig exclude each other: what is outside of the mesh calls nobody in it")
	}
	if err := firstError(
		checkBalance(e, "BalanceInboundConnections", e.BalanceInboundConnections),
		checkMutualTLS(e, e.MutualTLSMode),
		checkGatewayMode(e, "MeshGateway.Mode", e.MeshGateway),
		validateDestination(e, e.Destination),
	); err != nil {
		return err
	}
	if e.RateLimits != nil {
		return entryWrong(e, "RateLimits", "needs Consul Enterprise; leave it out")
	}
	if e.UpstreamConfig == nil {
		return nil
	}
	for i, u := range e.UpstreamConfig.Overrides {
		at := fmt.Sprintf("UpstreamConfig.Overrides[%d]", i)
		if u == nil || u.Name == "" || u.Name == "*" {
			return entryWrong(e, at+".Name", "must be that of one service; what is for all goes into UpstreamConfig.Defaults")
		}
		if err := validateUpstream(e, at, u); err != nil {
			return err
		}
	}
	if u := e.UpstreamConfig.Defaults; u != nil {
		if u.Name != "" {
			return entryWrong(e, "UpstreamConfig.Defaults.Name", "must be empty; what is for one service goes into UpstreamConfig.Overrides")
		}
		return validateUpstream(e, "UpstreamConfig.Defaults", u)
	}
	return nil
}

func validateDestination(e Entry, d *Destination) error {
	if d == nil {
		return nil
	}
	if len(d.Addresses) == 0 {
		return entryWrong(e, "Destination.Addresses", "is empty; it needs at least one host name or IP address")
	}
	seen := map[string]bool{}
	for i, a := range d.Addresses {
		at := fmt.Sprintf("Destination.Addresses[%d]", i)
		if seen[a] {
			return entryWrong(e, at, "%q stands twice", clip(a))
		}
		seen[a] = true
		if _, err := netip.ParseAddr(a); err != nil && !hostName(a) {
			return entryWrong(e, at, "%q is not a host name or an IP address", clip(a))
		}
	}
	if d.Port < 1 || d.Port > 65535 {
		return entryWrong(e, "Destination.Port", "%d is not in 1..65535", d.Port)
	}
	return nil
}

// hostName reports whether s can be a name in the DNS, as widely as Consul takes it.
func hostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 254 || strings.Contains(s, "*") {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}

func validateProxyDefaults(e *ProxyDefaults) error {
	if e.Name != "global" {
		return entryWrong(e, "Name", `must be "global": there is one such entry`)
	}
	if err := firstError(
		checkMutualTLS(e, e.MutualTLSMode),
		checkGatewayMode(e, "MeshGateway.Mode", e.MeshGateway),
		checkLocality(e, e.PrioritizeByLocality),
	); err != nil {
		return err
	}
	if p := e.FailoverPolicy; p != nil {
		switch p.Mode {
		case "", "sequential", "order-by-locality":
		default:
			return entryWrong(e, "FailoverPolicy.Mode", "%q is not one of sequential, order-by-locality and empty", clip(p.Mode))
		}
	}
	return nil
}

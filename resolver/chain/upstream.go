package chain

import (
	"context"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/resolver"
)

// DefaultsSource gives the service-defaults entries of services: what a caller's own
// entry says of its calls is not in any chain.
//
// WatchDefaults delivers the entry of a service, nil if there is none, and each newer
// one, until ctx ends, and then returns ctx's error. What cannot be read is not
// delivered: the last entry holds.
type DefaultsSource interface {
	WatchDefaults(ctx context.Context, service string, deliver func(*ServiceDefaults, []Problem)) error
}

// Upstream is what a caller's entry says of its calls to a service: what is said of
// that service, else what is said of all. As in Consul, a field that is said of the
// service replaces that field as a whole. nil: nothing.
func (e *ServiceDefaults) Upstream(service string) *Upstream {
	if e == nil || e.UpstreamConfig == nil {
		return nil
	}
	var u Upstream
	if all := e.UpstreamConfig.Defaults; all != nil {
		u = *all
	}
	for _, o := range e.UpstreamConfig.Overrides {
		if o == nil || !strings.EqualFold(o.Name, service) || o.Peer != "" {
			continue
		}
		if o.ConnectTimeoutMs != 0 {
			u.ConnectTimeoutMs = o.ConnectTimeoutMs
		}
		if o.Limits != nil {
			u.Limits = o.Limits
		}
		if o.PassiveHealthCheck != nil {
			u.PassiveHealthCheck = o.PassiveHealthCheck
		}
		if o.MeshGateway.Mode != "" {
			u.MeshGateway = o.MeshGateway
		}
		if o.Protocol != "" {
			u.Protocol = o.Protocol
		}
	}
	u.Name = service
	if u == (Upstream{Name: service}) {
		return nil
	}
	return &u
}

// String tells two upstreams apart by all that counts.
func (u *Upstream) String() string {
	if u == nil {
		return ""
	}
	text := fmt.Sprintf("%d|%s|%s", u.ConnectTimeoutMs, u.MeshGateway.Mode, u.Protocol)
	number := func(name string, n *int) {
		if n != nil {
			text += fmt.Sprintf("|%s %d", name, *n)
		}
	}
	small := func(name string, n *uint32) {
		if n != nil {
			text += fmt.Sprintf("|%s %d", name, *n)
		}
	}
	if l := u.Limits; l != nil {
		number("connections", l.MaxConnections)
		number("pending", l.MaxPendingRequests)
		number("concurrent", l.MaxConcurrentRequests)
	}
	if p := u.PassiveHealthCheck; p != nil {
		text += fmt.Sprintf("|check %s %d", p.Interval, p.MaxFailures)
		small("5xx", p.EnforcingConsecutive5xx)
		small("gateway", p.EnforcingConsecutiveGatewayFailure)
		small("in a row", p.Consecutive5xx)
		small("gateway in a row", p.ConsecutiveGatewayFailure)
		small("percent", p.MaxEjectionPercent)
		if p.BaseEjectionTime != nil {
			text += "|" + p.BaseEjectionTime.String()
		}
	}
	return text
}

// WatchDefaults implements [DefaultsSource].
func (s Compiled) WatchDefaults(ctx context.Context, service string, deliver func(*ServiceDefaults, []Problem)) error {
	if err := resolver.CheckService(service); err != nil {
		return err
	}
	return s.Watch(ctx, func(set *EntrySet) { deliver(set.ServiceDefaults(service), nil) })
}

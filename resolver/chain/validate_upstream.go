package chain

import (
	"time"
)

func validateUpstream(e Entry, at string, u *Upstream) error {
	if err := firstError(
		checkBalance(e, at+".BalanceOutboundConnections", u.BalanceOutboundConnections),
		checkGatewayMode(e, at+".MeshGateway.Mode", u.MeshGateway),
	); err != nil {
		return err
	}
	if l := u.Limits; l != nil {
		for _, f := range []struct {
			name  string
			value *int
		}{
			{"MaxConnections", l.MaxConnections}, {"MaxPendingRequests", l.MaxPendingRequests},
			{"MaxConcurrentRequests", l.MaxConcurrentRequests},
		} {
			if f.value != nil && *f.value < 0 {
				return entryWrong(e, at+".Limits."+f.name, "%d is negative", *f.value)
			}
		}
	}
	p := u.PassiveHealthCheck
	if p == nil {
		return nil
	}
	at += ".PassiveHealthCheck."
	for _, f := range []struct {
		name  string
		value *uint32
	}{
		{"EnforcingConsecutive5xx", p.EnforcingConsecutive5xx},
		{"EnforcingConsecutiveGatewayFailure", p.EnforcingConsecutiveGatewayFailure},
		{"MaxEjectionPercent", p.MaxEjectionPercent},
	} {
		if f.value != nil && *f.value > 100 {
			return entryWrong(e, at+f.name, "%d is not in 0..100", *f.value)
		}
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
	}{{"Interval", &p.Interval}, {"BaseEjectionTime", p.BaseEjectionTime}} {
		if f.value != nil && *f.value < 0 {
			return entryWrong(e, at+f.name, "%v is negative", *f.value)
		}
	}
	return nil
}

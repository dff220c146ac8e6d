package authz

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ErrEgress is why a call to a host outside the mesh is refused.
var ErrEgress = errors.New("not one of the outside hosts that this service may call")

// EgressConfig says which hosts outside the mesh a service may call.
type EgressConfig struct {
	// Service is who calls, for the log. Empty is allowed.
	Service string
	// Allow are hosts: "api.example.com", "api.example.com:8443", "*.example.com" (any
	// depth below, not itself), an IP address, or a network such as "10.0.0.0/8". A
	// host without a port stands for ports 80 and 443. Empty: none may be called.
	Allow []string
	// DryRun lets everything pass and logs what would be refused. False: enforced.
	DryRun bool
	// OnRefused is told of each refusal: Denied, or WouldDeny in a dry run, and why. It is
	// called on the way of the call and must not block. nil: nobody is told.
	OnRefused func(Result, EgressReason)
	// Logger is told of refusals. nil: nobody is.
	Logger *slog.Logger
}

// EgressReason is why a host may not be called.
type EgressReason string

// The reasons: not in Allow; neither a name nor an address in its usual form; a name
// that leads to this machine or its link.
const (
	EgressNotAllowed EgressReason = "not_allowed"
	EgressBadHost    EgressReason = "bad_host"
	EgressInward     EgressReason = "inward_address"
)

// Egress holds the hosts outside the mesh that may be called. Its HTTP face is
// [EgressTransport], its gRPC face [EgressDialer].
type Egress struct {
	cfg   EgressConfig
	rules []egressRule
	audit *audit
}

type egressRule struct {
	host   string // exact, or ".example.com" for what is below
	net    netip.Prefix
	port   string // empty: 80 and 443
	domain bool
}

// NewEgress checks the configuration.
func NewEgress(cfg EgressConfig) (*Egress, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Egress{cfg: cfg}
	e.audit = newAudit(Config{Scope: Scope{Service: cfg.Service}, LogRate: 100, Logger: cfg.Logger})
	for i, s := range cfg.Allow {
		r, err := parseEgress(s)
		if err != nil {
			return nil, fmt.Errorf("authz: EgressConfig.Allow[%d] %q: %w", i, clip(s), err)
		}
		e.rules = append(e.rules, r)
	}
	return e, nil
}

func parseEgress(s string) (egressRule, error) {
	var r egressRule
	if p, err := netip.ParsePrefix(s); err == nil {
		r.net = p.Masked()
		return r, nil
	}
	host, port := s, ""
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return r, errors.New("not a host, or a host and a port")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return r, errors.New("port is not in 1..65535")
		}
	}
	r.port = port
	if below, ok := strings.CutPrefix(host, "*."); ok {
		r.domain, host = true, below
	}
	var err error
	if r.host, err = hostName(host); err != nil {
		return r, err
	}
	if _, err := netip.ParseAddr(r.host); err == nil && r.domain {
		return r, errors.New("a wildcard before an address")
	}
	return r, nil
}

// hostName is the one spelling of a host: an address, or a name in lower case
// without the root's dot. What some resolvers take for an address (0177.1, 2130706433)
// is refused.
func hostName(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return "", errors.New("an address with a zone")
		}
		return a.Unmap().String(), nil
	}
	s = strings.TrimSuffix(lowerASCII(s), ".")
	if s == "" || len(s) > 253 {
		return "", errors.New("not a host's name")
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }
		if l == "" || len(l) > 63 || strings.ContainsFunc(l, bad) {
			return "", errors.New("not a host's name in ASCII")
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return "", errors.New("neither a name nor an address in its usual form")
	}
	return s, nil
}

// Check reports whether host and port may be called; nil: yes.
func (e *Egress) Check(host, port string) error {
	if e.allows(host, port) {
		return nil
	}
	why, reason := EgressNotAllowed, ""
	if _, err := hostName(host); err != nil {
		why, reason = EgressBadHost, err.Error()
	}
	return e.refuse(host+":"+port, why, reason,
		fmt.Errorf("authz: call to %s: %w; allow it in EgressConfig.Allow", clip(net.JoinHostPort(host, port)), ErrEgress))
}

func (e *Egress) allows(host, port string) bool {
	name, err := hostName(host)
	return err == nil && slices.ContainsFunc(e.rules, func(r egressRule) bool { return r.match(name, port) })
}

// refuse tells of a refusal, and gives it back unless this is a dry run.
func (e *Egress) refuse(to string, why EgressReason, reason string, err error) error {
	event, result := "authz.egress_denied", Denied
	if e.cfg.DryRun {
		event, result = "authz.egress_would_deny", WouldDeny
	}
	if e.cfg.OnRefused != nil {
		e.cfg.OnRefused(result, why)
	}
	e.audit.refused(event, &Request{Protocol: "egress", Path: to}, &Decision{Rule: "egress", Err: ErrEgress, reason: reason})
	if e.cfg.DryRun {
		return nil
	}
	return err
}

func (r *egressRule) match(host, port string) bool {
	if r.net.IsValid() {
		a, err := netip.ParseAddr(host)
		return err == nil && r.net.Contains(a)
	}
	if r.port != port && (r.port != "" || port != "80" && port != "443") {
		return false
	}
	if r.domain {
		return strings.HasSuffix(host, "."+r.host)
	}
	return host == r.host
}

package resolver

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ID is the stable identity of an endpoint: the same instance keeps it through
// changes of address, weight, health and metadata. It is comparable.
type ID struct {
	// Source is the name of the catalog source (the cloud) that listed the endpoint.
	Source string
	// Node is the node the instance runs on, as the source names it.
	Node string
	// Instance is the instance's id, unique on its node only (Consul: service id).
	Instance string
}

// String is "source/node/instance".
func (id ID) String() string { return id.Source + "/" + id.Node + "/" + id.Instance }

// Compare orders ids by source, node and instance.
func (id ID) Compare(o ID) int {
	return cmp.Or(
		cmp.Compare(id.Source, o.Source),
		cmp.Compare(id.Node, o.Node),
		cmp.Compare(id.Instance, o.Instance),
	)
}

// Health is what the catalog's checks say of an endpoint.
type Health uint8

const (
	// Passing endpoints take traffic by their weight.
	Passing Health = iota
	// Warning endpoints take traffic by their (usually lower) warning weight.
	Warning
	// Critical endpoints take no traffic. They stay in the snapshot because
	// they count as lost capacity of their locality.
	Critical
)

// String is the name Consul uses: "passing", "warning" or "critical".
func (h Health) String() string {
	switch h {
	case Passing:
		return "passing"
	case Warning:
		return "warning"
	case Critical:
		return "critical"
	}
	return "health(" + strconv.Itoa(int(h)) + ")"
}

// MaxWeight is the largest weight of an endpoint, as in Consul.
const MaxWeight = 65535

// Endpoint is one instance of a service. It is immutable and shared: a catalog
// delivers the same pointer again while nothing about the endpoint changed.
type Endpoint struct {
	// ID is the stable identity.
	ID ID
	// Service is the name of the service that the endpoint is an instance of.
	Service string
	// Addr is "host:port" to dial; IPv6 hosts are in brackets. The host may be a name.
	Addr string
	// Locality is where the instance runs.
	Locality Locality
	// Weight is the share of traffic relative to its peers, 1 to MaxWeight, for
	// the current Health (Consul: Weights.Passing or Weights.Warning). A Critical
	// endpoint carries the weight it would have when passing.
	Weight uint32
	// Health is the worst state of the instance's checks.
	Health Health
	// Protocol is "grpc", "http", "http2", "tcp" or empty (unknown).
	Protocol string
	// SPIFFEID is the identity that the source expects the instance to prove,
	// for example "spiffe://td/ns/default/dc/aws/svc/payments". Empty means that
	// the source does not say; a client then needs a rule of its own, or refuses.
	SPIFFEID string
	// Tags and Metadata are the instance's own, never nil-checked by readers,
	// never written after publication.
	Tags     []string
	Metadata map[string]string
	// Marks are what the source was asked to tell by [Marker]; nil: nothing.
	Marks *Marks
}

// Equal reports whether two endpoints are the same in every field.
func (e *Endpoint) Equal(o *Endpoint) bool {
	if e == o {
		return true
	}
	if e == nil || o == nil || e.ID != o.ID || e.Service != o.Service || e.Addr != o.Addr || e.Locality != o.Locality ||
		e.Weight != o.Weight || e.Health != o.Health || e.Protocol != o.Protocol || e.SPIFFEID != o.SPIFFEID ||
		len(e.Tags) != len(o.Tags) || len(e.Metadata) != len(o.Metadata) || !e.Marks.equal(o.Marks) {
		return false
	}
	for i := range e.Tags {
		if e.Tags[i] != o.Tags[i] {
			return false
		}
	}
	for k, v := range e.Metadata {
		if w, ok := o.Metadata[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// JoinAddr checks host and port as a catalog gives them and joins them to an
// address that can be dialled. It refuses what could never be a remote
// endpoint: an empty host, a port outside 1 to 65535, an unspecified address
// (0.0.0.0, ::), control bytes, and names over 253 bytes.
func JoinAddr(host string, port int) (string, error) {
	if port < 1 || port > 65535 {
		return "", fmt.Errorf("resolver: port %d of host %q is not in 1..65535", port, clip(host))
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" {
		return "", fmt.Errorf("resolver: empty host (port %d)", port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return "", fmt.Errorf("resolver: %s is not an address of one endpoint", host)
		}
		return net.JoinHostPort(ip.String(), strconv.Itoa(port)), nil
	}
	if err := checkHostname(host); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

func checkHostname(host string) error {
	if len(host) > 253 {
		return fmt.Errorf("resolver: host name of %d bytes, over 253: %q", len(host), clip(host))
	}
	digits := true
	for _, c := range []byte(host) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
			digits = false
		case c >= '0' && c <= '9', c == '.':
		default:
			return fmt.Errorf("resolver: byte %q in host %q is not part of a host name", c, clip(host))
		}
	}
	if digits { // 10.0.0.256 is a mistyped address, not a name to look up
		return fmt.Errorf("resolver: %q is neither an IP address nor a host name", clip(host))
	}
	return nil
}

// clip bounds foreign text that goes into an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

package security

import (
	"cmp"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Bounds of the SPIFFE-ID standard (section 2), in bytes.
const (
	maxIDLen          = 2048
	maxTrustDomainLen = 255
)

// PeerID is the SPIFFE ID of a peer, proven by a handshake. It is comparable.
type PeerID struct{ spiffeid.ID }

// ServiceID is the content of a SPIFFE ID of the form that Consul gives to
// services, spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>,
// with /ap/<partition> in front of it outside the default partition.
type ServiceID struct {
	TrustDomain string
	// Partition is empty for the default partition.
	Partition string
	// Namespace is "default" where there are no namespaces.
	Namespace  string
	Datacenter string
	Service    string
}

// ParseServiceID reads a SPIFFE ID of Consul's form. It fails for any other
// SPIFFE ID and for any other spelling.
func ParseServiceID(s string) (ServiceID, error) {
	id, err := parseID(s)
	if err != nil {
		return ServiceID{}, fmt.Errorf("security: parse service id: %w", err)
	}
	return serviceID(id)
}

// Service returns the parts of an ID of Consul's form; it fails for other IDs,
// which are as good, but do not name a service in a way that is known here.
func (p PeerID) Service() (ServiceID, error) { return serviceID(p.ID) }

func serviceID(id spiffeid.ID) (ServiceID, error) {
	out := ServiceID{TrustDomain: id.TrustDomain().Name()}
	seg := strings.Split(strings.TrimPrefix(id.Path(), "/"), "/")
	if len(seg) == 8 && seg[0] == "ap" {
		out.Partition, seg = seg[1], seg[2:]
	}
	if len(seg) != 6 || seg[0] != "ns" || seg[2] != "dc" || seg[4] != "svc" {
		return ServiceID{}, fmt.Errorf("security: SPIFFE ID %s is not of the form "+
			"spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>", clip(id.String()))
	}
	out.Namespace, out.Datacenter, out.Service = seg[1], seg[3], seg[5]
	return out, nil
}

// ID is the SPIFFE ID. An empty Namespace means "default". It fails if a part is empty
// or has a character that a SPIFFE ID cannot hold.
func (s ServiceID) ID() (spiffeid.ID, error) {
	if s.Namespace == "" {
		s.Namespace = "default"
	}
	td, err := spiffeid.TrustDomainFromString(s.TrustDomain)
	if err != nil || strings.Contains(s.TrustDomain, "/") {
		return spiffeid.ID{}, fmt.Errorf("security: %q is not a trust domain name (want lower case letters, digits, '.', '-', '_')", clip(s.TrustDomain))
	}
	seg := []string{"ns", s.Namespace, "dc", s.Datacenter, "svc", s.Service}
	if s.Partition != "" {
		seg = append([]string{"ap", s.Partition}, seg...)
	}
	id, err := spiffeid.FromSegments(td, seg...)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("security: no SPIFFE ID for service %q in datacenter %q: %w", clip(s.Service), clip(s.Datacenter), err)
	}
	return parseID(id.String())
}

// SNI is the server name by which sidecars and mesh gateways of Consul know the
// service, in the form that its proxies send:
// <service>.<namespace>.<datacenter>.internal.<trust domain>. It decides nothing
// here: what counts is the SPIFFE ID.
func (s ServiceID) SNI() string {
	parts := []string{s.Service, cmp.Or(s.Namespace, "default")}
	if s.Partition == "" || s.Partition == "default" {
		parts = append(parts, s.Datacenter, "internal")
	} else {
		parts = append(parts, s.Partition, s.Datacenter, "internal-v1")
	}
	return strings.Join(append(parts, s.TrustDomain), ".")
}

// parseID accepts the SPIFFE ID of a workload in its one canonical spelling. It is
// stricter than spiffeid.FromString: lengths are bounded, the path is not empty.
func parseID(s string) (spiffeid.ID, error) {
	if len(s) > maxIDLen {
		return spiffeid.ID{}, fmt.Errorf("SPIFFE ID has %d bytes, the limit is %d", len(s), maxIDLen)
	}
	id, err := spiffeid.FromString(s)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("SPIFFE ID %q: %w", clip(s), err)
	}
	if n := len(id.TrustDomain().Name()); n > maxTrustDomainLen {
		return spiffeid.ID{}, fmt.Errorf("trust domain of the SPIFFE ID has %d bytes, the limit is %d", n, maxTrustDomainLen)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, fmt.Errorf("SPIFFE ID %q names a trust domain, not a workload: the path is empty", clip(s))
	}
	return id, nil
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// idOf reads the SPIFFE ID from the bytes of the certificate, not from cert.URIs:
// net/url forgives spellings (an upper-case scheme, an empty fragment) that
// other implementations compare differently.
func idOf(cert *x509.Certificate) (spiffeid.ID, error) {
	var uris []string
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 {
			return spiffeid.ID{}, errors.New("subject alternative names cannot be read")
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == 6 {
				uris = append(uris, string(n.Bytes))
			}
		}
	}
	if len(uris) != 1 {
		return spiffeid.ID{}, fmt.Errorf("certificate has %d URI SANs, want exactly one", len(uris))
	}
	return parseID(uris[0])
}

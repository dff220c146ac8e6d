package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Bounds of a peer's chain, checked before any signature: building chains costs
// more than linear time in their number.
const (
	maxChainCerts = 10
	maxChainBytes = 64 << 10
)

// ownSVID returns the SVID to present now, never one that no peer would accept.
func ownSVID(src Source) (*x509svid.SVID, error) {
	svid, err := src.GetX509SVID()
	if err != nil {
		return nil, fmt.Errorf("security: %w: the source has none: %w", ErrNoIdentity, err)
	}
	if svid == nil || len(svid.Certificates) == 0 || svid.PrivateKey == nil {
		return nil, fmt.Errorf("security: %w: the source returned an empty SVID", ErrNoIdentity)
	}
	if err := checkTime(svid.Certificates[0], time.Now()); err != nil {
		return nil, fmt.Errorf("security: %w: own SVID %s is not presented: %w", ErrNoIdentity, clip(svid.ID.String()), err)
	}
	return svid, nil
}

// ownCertificate is ownSVID with its whole chain, for crypto/tls.
func ownCertificate(src Source) (*tls.Certificate, error) {
	svid, err := ownSVID(src)
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{
		Certificate: make([][]byte, len(svid.Certificates)),
		PrivateKey:  svid.PrivateKey,
		Leaf:        svid.Certificates[0],
	}
	for i, c := range svid.Certificates {
		cert.Certificate[i] = c.Raw
	}
	return cert, nil
}

// verifyPeer checks everything about the peer but whether it is the wanted one.
// The ID is returned also with an error if it could be read.
func verifyPeer(certs []*x509.Certificate, src Source, us Side) (spiffeid.ID, error) {
	if len(certs) == 0 {
		return spiffeid.ID{}, fmt.Errorf("%w: it presented no certificate", ErrBadSVID)
	}
	size := 0
	for _, c := range certs {
		size += len(c.Raw)
	}
	if len(certs) > maxChainCerts || size > maxChainBytes {
		return spiffeid.ID{}, fmt.Errorf("%w: chain of %d certificates and %d bytes, the limits are %d and %d",
			ErrBadSVID, len(certs), size, maxChainCerts, maxChainBytes)
	}
	leaf := certs[0]
	id, err := idOf(leaf)
	if err != nil {
		return id, fmt.Errorf("%w: %w", ErrBadSVID, err)
	}
	if err := checkLeaf(leaf); err != nil {
		return id, fmt.Errorf("%w: %w", ErrBadSVID, err)
	}
	now := time.Now()
	if err := checkTime(leaf, now); err != nil {
		return id, err
	}
	got, chains, err := x509svid.Verify(certs, ownBundleOnly{src}, x509svid.WithTime(now))
	switch {
	case errors.Is(err, ErrUnknownTrustDomain):
		return id, err
	case err != nil:
		return id, fmt.Errorf("%w %s: %s; if its CA was changed, wait for the new bundle to arrive or fetch it again",
			ErrUntrusted, clip(id.TrustDomain().Name()), clip(err.Error()))
	case got != id:
		return id, fmt.Errorf("%w: its URI SAN is read differently by different parsers", ErrBadSVID)
	}
	return id, checkPurpose(chains, us)
}

// checkLeaf holds the leaf to the X509-SVID standard, section 4.
func checkLeaf(leaf *x509.Certificate) error {
	switch {
	case leaf.IsCA:
		return errors.New("leaf is a CA certificate")
	case leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return errors.New("leaf may sign certificates or revocation lists")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("leaf lacks the key usage digitalSignature")
	}
	return nil
}

// checkPurpose wants one chain whose certificates, where they limit the extended key
// usage, allow the role that the peer has. go-spiffe accepts any usage.
func checkPurpose(chains [][]*x509.Certificate, us Side) error {
	want, name := x509.ExtKeyUsageServerAuth, "serverAuth"
	if us == ServerSide {
		want, name = x509.ExtKeyUsageClientAuth, "clientAuth"
	}
	for _, chain := range chains {
		if !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return !allows(c, want) }) {
			return nil
		}
	}
	return fmt.Errorf("%w: its extended key usage lacks %s", ErrBadSVID, name)
}

func allows(c *x509.Certificate, want x509.ExtKeyUsage) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, want) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// checkTime explains itself: the usual cause is a clock, and the numbers show it.
func checkTime(c *x509.Certificate, now time.Time) error {
	const form = "%w: %s %v (valid from %s to %s, local time %s); if that is small compare the clocks of both machines, else look why its issuer %s"
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case now.Before(c.NotBefore):
		return fmt.Errorf(form, ErrExpired, "becomes valid in", c.NotBefore.Sub(now).Round(time.Second),
			at(c.NotBefore), at(c.NotAfter), at(now), "dates it ahead")
	case now.After(c.NotAfter):
		return fmt.Errorf(form, ErrExpired, "expired since", now.Sub(c.NotAfter).Round(time.Second),
			at(c.NotBefore), at(c.NotAfter), at(now), "does not renew it")
	}
	return nil
}

// ownBundleOnly gives the verifier the bundle of the asked trust domain and
// nothing else, whatever the source returns: no bundle, an empty one, and one
// of another domain all mean that nobody of that domain is trusted.
type ownBundleOnly struct{ src x509bundle.Source }

func (o ownBundleOnly) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	b, err := o.src.GetX509BundleForTrustDomain(td)
	name := clip(td.Name())
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w %s: the source has none (%s); a federated domain must be configured, and each workload of a mesh must see the same CA",
			ErrUnknownTrustDomain, name, clip(err.Error()))
	case b == nil || b.Empty():
		return nil, fmt.Errorf("%w %s: the source returned an empty one, so nobody of it is trusted", ErrUnknownTrustDomain, name)
	case b.TrustDomain() != td:
		return nil, fmt.Errorf("%w %s: the source returned the one of %s", ErrUnknownTrustDomain, name, clip(b.TrustDomain().Name()))
	}
	return b, nil
}

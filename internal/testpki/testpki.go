// Package testpki mints identities for tests, good and hostile ones.
package testpki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// CA is a root, or an intermediate with the chain below the root.
type CA struct {
	TrustDomain spiffeid.TrustDomain
	Cert        *x509.Certificate
	Key         *ecdsa.PrivateKey
	// Chain is what must follow a leaf: the intermediates, nearest first.
	Chain []*x509.Certificate
}

// New makes a root for a trust domain, valid for a day.
func New(t testing.TB, trustDomain string) *CA {
	t.Helper()
	td := spiffeid.RequireTrustDomainFromString(trustDomain)
	key := newKey(t)
	tmpl := caTemplate("root of " + trustDomain)
	return &CA{TrustDomain: td, Cert: sign(t, tmpl, tmpl, &key.PublicKey, key), Key: key}
}

// Intermediate makes a CA signed by this one.
func (ca *CA) Intermediate(t testing.TB) *CA {
	t.Helper()
	key := newKey(t)
	cert := sign(t, caTemplate("intermediate of "+ca.TrustDomain.Name()), ca.Cert, &key.PublicKey, ca.Key)
	return &CA{TrustDomain: ca.TrustDomain, Cert: cert, Key: key, Chain: append([]*x509.Certificate{cert}, ca.Chain...)}
}

// CrossSign makes a certificate of other's key signed by this CA, as a CA rotation does.
func (ca *CA) CrossSign(t testing.TB, other *CA) *x509.Certificate {
	t.Helper()
	tmpl := caTemplate("cross")
	tmpl.Subject = other.Cert.Subject
	return sign(t, tmpl, ca.Cert, &other.Key.PublicKey, ca.Key)
}

// Bundle is this CA's certificate as the bundle of its trust domain.
func (ca *CA) Bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(ca.TrustDomain, []*x509.Certificate{ca.Cert})
}

// Spec changes what is minted.
type Spec struct {
	// Template is the certificate; its URIs are ignored.
	Template *x509.Certificate
	// URIs are the URI SANs, byte for byte.
	URIs []string
	// SelfSigned makes the leaf its own issuer.
	SelfSigned bool
	// Chain follows the leaf.
	Chain []*x509.Certificate
}

// SVID mints an identity valid for an hour. change may alter everything about it, so that it
// need not be a valid SVID. The ID field is set only if uri is a valid SPIFFE ID.
func (ca *CA) SVID(t testing.TB, uri string, change ...func(*Spec)) *x509svid.SVID {
	t.Helper()
	key := newKey(t)
	spec := &Spec{Template: leafTemplate(), URIs: []string{uri}, Chain: ca.Chain}
	for _, f := range change {
		f(spec)
	}
	if len(spec.URIs) > 0 {
		spec.Template.ExtraExtensions = append(spec.Template.ExtraExtensions, uriSANs(t, spec.URIs))
	}
	parent, signer := ca.Cert, ca.Key
	if spec.SelfSigned {
		parent, signer = spec.Template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, spec.Template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		leaf = &x509.Certificate{Raw: der, NotBefore: spec.Template.NotBefore, NotAfter: spec.Template.NotAfter} // Go's parser refuses it; a peer's may not
	}
	id, _ := spiffeid.FromString(uri) // zero for hostile ones
	return &x509svid.SVID{ID: id, Certificates: append([]*x509.Certificate{leaf}, spec.Chain...), PrivateKey: key}
}

// Source is an identity that a test can change at any time.
type Source struct {
	mu      sync.RWMutex
	svid    *x509svid.SVID
	bundles map[spiffeid.TrustDomain]*x509bundle.Bundle
}

// NewSource holds an SVID and bundles, one per trust domain.
func NewSource(svid *x509svid.SVID, bundles ...*x509bundle.Bundle) *Source {
	s := &Source{svid: svid, bundles: map[spiffeid.TrustDomain]*x509bundle.Bundle{}}
	for _, b := range bundles {
		s.bundles[b.TrustDomain()] = b
	}
	return s
}

// SetSVID replaces the SVID; nil removes it.
func (s *Source) SetSVID(svid *x509svid.SVID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.svid = svid
}

// SetBundle replaces the bundle of a trust domain; nil removes it.
func (s *Source) SetBundle(td spiffeid.TrustDomain, b *x509bundle.Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b == nil {
		delete(s.bundles, td)
		return
	}
	s.bundles[td] = b
}

// GetX509SVID implements security.Source.
func (s *Source) GetX509SVID() (*x509svid.SVID, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.svid == nil {
		return nil, errors.New("testpki: no SVID")
	}
	return s.svid, nil
}

// GetX509BundleForTrustDomain implements security.Source.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.bundles[td]; b != nil {
		return b, nil
	}
	return nil, errors.New("testpki: no bundle for " + td.Name())
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // never fails
	return n
}

func caTemplate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func leafTemplate() *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial(), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func sign(t testing.TB, tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// uriSANs writes names that url.URL would not.
func uriSANs(t testing.TB, uris []string) pkix.Extension {
	t.Helper()
	var names []asn1.RawValue
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: der}
}

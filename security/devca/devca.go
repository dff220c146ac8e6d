// Package devca is a certificate authority inside the process, for development,
// tests and demonstrations. It gives real SPIFFE SVIDs, so that a program runs with
// the same mutual TLS as in production and without any installation.
//
// It is not for production, and says so: by the event devca.in_use and in the
// subject of each certificate. Its key lies in memory, or in a file that every
// process of the user can read, and it signs whatever it is asked to.
package devca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/security"
)

// Defaults of Config.
const (
	DefaultTrustDomain = "weft.dev.internal"
	DefaultCloud       = "local"
	DefaultTTL         = time.Hour
)

const (
	minTTL   = 2 * time.Second // X.509 counts whole seconds
	rootTTL  = 365 * 24 * time.Hour
	backdate = time.Minute // for clocks that are behind ours
	unit     = "DEVELOPMENT ONLY - not for production"
)

// Config configures a CA. The zero value is a CA in memory.
type Config struct {
	// TrustDomain of the identities. Empty is DefaultTrustDomain.
	TrustDomain string
	// Cloud is the "dc" part of the SPIFFE IDs made from service names. Empty is DefaultCloud.
	Cloud string
	// Dir lets the processes of one machine share a CA: the first one creates it
	// there, as one file of mode 0600 in a directory of mode 0700. A directory or
	// file that others may use is refused. Empty keeps the CA in memory, where
	// only this process trusts it.
	Dir string
	// TTL is how long SVIDs live; they are renewed after 60 to 90 % of it.
	// 0 is DefaultTTL; less than 2 s is refused.
	TTL time.Duration
	// Logger gets the events. Nil discards them.
	Logger *slog.Logger
}

// CA signs identities of one trust domain. It is safe for concurrent use and
// holds nothing that must be closed.
type CA struct {
	cfg    Config
	td     spiffeid.TrustDomain
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
	bundle *x509bundle.Bundle
}

// New makes a CA. It touches the file system only if Dir is set, where it reads
// one small file, or creates it.
func New(cfg Config) (*CA, error) {
	if cfg.TrustDomain == "" {
		cfg.TrustDomain = DefaultTrustDomain
	}
	if cfg.Cloud == "" {
		cfg.Cloud = DefaultCloud
	}
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.TTL < minTTL {
		return nil, fmt.Errorf("devca: Config.TTL is %v, want 0 or at least %v", cfg.TTL, minTTL)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	// A whole ID checks both the trust domain and the cloud.
	probe := security.ServiceID{TrustDomain: cfg.TrustDomain, Datacenter: cfg.Cloud, Service: "x"}
	id, err := probe.ID()
	if err != nil {
		return nil, fmt.Errorf("devca: Config.TrustDomain or Config.Cloud: %w", err)
	}
	ca := &CA{cfg: cfg, td: id.TrustDomain()}
	if cfg.Dir == "" {
		ca.root, ca.key, err = newRoot(ca.td)
	} else {
		ca.root, ca.key, err = shared(cfg.Dir, ca.td)
	}
	if err != nil {
		return nil, err
	}
	ca.bundle = x509bundle.FromX509Authorities(ca.td, []*x509.Certificate{ca.root})
	cfg.Logger.Warn("devca.in_use", "detail", "identities come from a development CA inside the process; not for production",
		"trust_domain", cfg.TrustDomain, "shared_dir", cfg.Dir)
	return ca, nil
}

// TrustDomain of all identities of this CA.
func (ca *CA) TrustDomain() spiffeid.TrustDomain { return ca.td }

// Bundle is what verifies the identities of this CA.
func (ca *CA) Bundle() *x509bundle.Bundle { return ca.bundle }

// ID is the SPIFFE ID of a service in a cloud, in Consul's form:
// spiffe://<trust domain>/ns/default/dc/<cloud>/svc/<service>. An empty cloud is Config.Cloud.
func (ca *CA) ID(cloud, service string) (string, error) {
	if cloud == "" {
		cloud = ca.cfg.Cloud
	}
	id, err := security.ServiceID{TrustDomain: ca.cfg.TrustDomain, Datacenter: cloud, Service: service}.ID()
	if err != nil {
		return "", fmt.Errorf("devca: %w", err)
	}
	return id.String(), nil
}

// resolve reads a SPIFFE ID of our trust domain, or the name of a service.
func (ca *CA) resolve(name string) (spiffeid.ID, error) {
	if !strings.HasPrefix(name, "spiffe://") {
		s, err := ca.ID("", name)
		if err != nil {
			return spiffeid.ID{}, err
		}
		return spiffeid.FromString(s)
	}
	id, err := spiffeid.FromString(name)
	if err != nil {
		return id, fmt.Errorf("devca: %q: %w", name, err)
	}
	if id.TrustDomain() != ca.td || id.Path() == "" {
		return id, fmt.Errorf("devca: %s is not the ID of a workload of the trust domain %s", id, ca.td.Name())
	}
	return id, nil
}

func (ca *CA) sign(id spiffeid.ID) (*x509svid.SVID, error) {
	now := time.Now()
	if now.After(ca.root.NotAfter) {
		return nil, fmt.Errorf("devca: the CA itself expired on %s; remove its directory to get a new one", ca.root.NotAfter.Format(time.DateOnly))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devca: make a key: %w", err)
	}
	tmpl := template("", now, ca.cfg.TTL, id.URL())
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	cert, err := create(tmpl, ca.root, &key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{cert}, PrivateKey: key}, nil
}

func newRoot(td spiffeid.TrustDomain) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("devca: make a key: %w", err)
	}
	tmpl := template("Weft development CA", time.Now(), rootTTL, td.ID().URL())
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	tmpl.IsCA, tmpl.MaxPathLenZero = true, true
	cert, err := create(tmpl, tmpl, &key.PublicKey, key)
	return cert, key, err
}

func template(name string, now time.Time, ttl time.Duration, uri *url.URL) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // rand.Reader never fails
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Weft"}, OrganizationalUnit: []string{unit}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(ttl),
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{uri},
	}
}

func create(tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, signer)
	if err == nil {
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(der); err == nil {
			return cert, nil
		}
	}
	return nil, errors.Join(errors.New("devca: sign a certificate"), err)
}

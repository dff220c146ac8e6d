// Package identity gives the processes of a benchmark identities of one development
// CA, and the TLS that a team without a mesh writes by hand.
package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/security/devca"
)

// Identity is one process's.
type Identity struct {
	CA     *devca.CA
	Source *devca.Source
}

// Open issues an identity; processes with the same folder have the same CA.
func Open(dir, service string) (*Identity, error) {
	ca, err := devca.New(devca.Config{Dir: filepath.Join(dir, "ca"), Cloud: "bench"})
	if err != nil {
		return nil, err
	}
	src, err := ca.Source(service)
	if err != nil {
		return nil, err
	}
	return &Identity{ca, src}, nil
}

// OpenTLS is Open and TLS in one: as a server, or else as a client.
func OpenTLS(dir, service string, server bool) (*Identity, *tls.Config, error) {
	i, err := Open(dir, service)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := i.TLS(server)
	if err != nil {
		i.Close()
		return nil, nil, err
	}
	return i, cfg, nil
}

// Close ends the renewal.
func (i *Identity) Close() { _ = i.Source.Close() }

// TLS is TLS 1.3 both ways, the chain checked against the CA once per connection.
func (i *Identity) TLS(server bool) (*tls.Config, error) {
	svid, err := i.Source.GetX509SVID()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, c := range i.CA.Bundle().X509Authorities() {
		roots.AddCert(c)
	}
	verify := func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("no certificate")
		}
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	cert := tls.Certificate{PrivateKey: svid.PrivateKey}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, VerifyConnection: verify}
	if server {
		cfg.ClientAuth = tls.RequireAnyClientCert
	} else {
		cfg.InsecureSkipVerify = true // VerifyConnection does it; there is no DNS name
	}
	return cfg, nil
}

// Files are an identity's as PEM.
type Files struct {
	Cert, Key, CA string
	Both          string // certificate and key in one
}

// Write writes the identity to a folder that is readable by its owner only.
func (i *Identity) Write(dir string) (f Files, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	svid, err := i.Source.GetX509SVID()
	if err != nil {
		return f, err
	}
	cert, key, err := svid.Marshal()
	if err != nil {
		return f, err
	}
	ca, err := i.CA.Bundle().Marshal()
	if err != nil {
		return f, err
	}
	f = Files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "both.pem")}
	for name, data := range map[string][]byte{f.Cert: cert, f.Key: key, f.CA: ca, f.Both: append(append([]byte{}, cert...), key...)} {
		err = errors.Join(err, os.WriteFile(name, data, 0o600))
	}
	return f, err
}

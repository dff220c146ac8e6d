package security_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// hostile is one kind of bad peer. mint makes its identity, given the ID that a good
// one would have; nil is a good identity. tls changes its TLS.
type hostile struct {
	name      string
	mint      func(t testing.TB, w *world, id string) *x509svid.SVID
	tls       func(*tls.Config)
	plaintext bool
	want      error // nil: refused by crypto/tls before we are asked
}

// world is two trust domains that know each other, and one that nobody knows.
type world struct {
	a, b, unknown  *testpki.CA
	client, server *testpki.Source
}

func newWorld(t testing.TB) *world {
	t.Helper()
	a, b := testpki.New(t, tdA), testpki.New(t, "b.example")
	return &world{
		a: a, b: b, unknown: testpki.New(t, "unknown.example"),
		client: testpki.NewSource(a.SVID(t, clientID), a.Bundle(), b.Bundle()),
		server: testpki.NewSource(a.SVID(t, serverID), a.Bundle(), b.Bundle()),
	}
}

// uri mints a valid chain with other URI SANs; %s stands for the path of the good ID.
func uri(formats ...string) func(testing.TB, *world, string) *x509svid.SVID {
	return func(t testing.TB, w *world, id string) *x509svid.SVID {
		return w.a.SVID(t, id, func(s *testpki.Spec) {
			s.URIs = nil
			for _, f := range formats {
				s.URIs = append(s.URIs, strings.ReplaceAll(f, "%s", strings.TrimPrefix(id, "spiffe://"+tdA)))
			}
		})
	}
}

// with mints a chain of which one thing is wrong.
func with(change func(*x509.Certificate)) func(testing.TB, *world, string) *x509svid.SVID {
	return func(t testing.TB, w *world, id string) *x509svid.SVID {
		return w.a.SVID(t, id, func(s *testpki.Spec) { change(s.Template) })
	}
}

func hostiles() []hostile {
	bad := security.ErrBadSVID
	return []hostile{
		{name: "expired", mint: with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), want: security.ErrExpired},
		{name: "not yet valid", mint: with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), want: security.ErrExpired},
		{name: "self-signed", want: security.ErrUntrusted, mint: func(t testing.TB, w *world, id string) *x509svid.SVID {
			return w.a.SVID(t, id, func(s *testpki.Spec) { s.SelfSigned = true })
		}},
		{name: "same path in an unknown trust domain", want: security.ErrUnknownTrustDomain, mint: func(t testing.TB, w *world, id string) *x509svid.SVID {
			return w.unknown.SVID(t, strings.Replace(id, tdA, "unknown.example", 1))
		}},
		{name: "same path in a federated trust domain", want: errWrongPeer, mint: func(t testing.TB, w *world, id string) *x509svid.SVID {
			return w.b.SVID(t, strings.Replace(id, tdA, "b.example", 1))
		}},
		{name: "signed by the CA of a federated trust domain", want: security.ErrUntrusted, mint: func(t testing.TB, w *world, id string) *x509svid.SVID {
			return w.b.SVID(t, id)
		}},
		{name: "federated CA in its chain", want: security.ErrUntrusted, mint: func(t testing.TB, w *world, id string) *x509svid.SVID {
			return w.b.SVID(t, id, func(s *testpki.Spec) { s.Chain = []*x509.Certificate{w.b.Cert, w.a.Cert} })
		}},
		{name: "missing intermediate", want: security.ErrUntrusted, mint: func(t testing.TB, w *world, id string) *x509svid.SVID {
			return w.a.Intermediate(t).SVID(t, id, func(s *testpki.Spec) { s.Chain = nil })
		}},
		{name: "CA leaf", mint: with(func(c *x509.Certificate) { c.IsCA = true }), want: bad},
		{name: "keyCertSign", mint: with(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign; c.IsCA = true }), want: bad},
		{name: "keyCertSign without CA", mint: with(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), want: bad},
		{name: "cRLSign", mint: with(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }), want: bad},
		{name: "no digitalSignature", mint: with(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), want: bad},
		{name: "no key usage", mint: with(func(c *x509.Certificate) { c.KeyUsage = 0 }), want: bad},
		{name: "extended key usage of another role", want: bad, mint: with(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		})},
		{name: "two URI SANs", mint: uri("spiffe://"+tdA+"%s", "spiffe://"+tdA+"/other"), want: bad},
		{name: "the same URI SAN twice", mint: uri("spiffe://"+tdA+"%s", "spiffe://"+tdA+"%s"), want: bad},
		{name: "a second URI SAN that is no SPIFFE ID", mint: uri("spiffe://"+tdA+"%s", "https://x.example/"), want: bad},
		{name: "no URI SAN", mint: uri(), want: bad},
		{name: "https URI", mint: uri("https://" + tdA + "%s"), want: bad},
		{name: "root path", mint: uri("spiffe://" + tdA), want: bad},
		{name: "trailing slash", mint: uri("spiffe://" + tdA + "%s/"), want: bad},
		{name: "dot segment", mint: uri("spiffe://" + tdA + "/x/..%s"), want: bad},
		{name: "empty segment", mint: uri("spiffe://" + tdA + "/%s"), want: bad},
		{name: "upper-case trust domain", mint: uri("spiffe://A.EXAMPLE%s"), want: bad},
		{name: "upper-case scheme", mint: uri("SPIFFE://" + tdA + "%s"), want: bad},
		{name: "percent encoding", mint: uri("spiffe://" + tdA + "/%2e%s"), want: bad},
		{name: "port in the trust domain", mint: uri("spiffe://" + tdA + ":443%s"), want: bad},
		{name: "user in the trust domain", mint: uri("spiffe://x@" + tdA + "%s"), want: bad},
		{name: "query", mint: uri("spiffe://" + tdA + "%s?x"), want: bad},
		{name: "empty fragment", mint: uri("spiffe://" + tdA + "%s#"), want: bad},
		{name: "line break in the path", mint: uri("spiffe://" + tdA + "%s\r\nforged: log line")},
		{name: "ID of 2049 bytes", mint: uri("spiffe://" + tdA + "/" + strings.Repeat("x", 2049-len("spiffe://"+tdA+"/"))), want: bad},
		{name: "trust domain of 256 bytes", mint: uri("spiffe://" + strings.Repeat("abcdefg.", 31) + "abcdefgh%s"), want: bad},
		{name: "wrong service", mint: uri("spiffe://" + tdA + "%s2"), want: errWrongPeer},
		{name: "longer path", mint: uri("spiffe://" + tdA + "%s/x"), want: errWrongPeer},
		{name: "chain of 11 certificates", want: bad, mint: func(t testing.TB, w *world, id string) *x509svid.SVID {
			return w.a.SVID(t, id, func(s *testpki.Spec) {
				for range 10 {
					s.Chain = append(s.Chain, w.a.Cert)
				}
			})
		}},
		{name: "chain over 64 KiB", want: bad, mint: with(func(c *x509.Certificate) {
			c.Subject.Organization = []string{strings.Repeat("x", 70<<10)}
		})},
		{name: "TLS 1.1", tls: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }},
		{name: "TLS 1.2", tls: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }},
		{name: "no certificate", tls: func(c *tls.Config) { c.Certificates = nil; c.GetClientCertificate = noCertificate }},
		{name: "garbage for a certificate", tls: func(c *tls.Config) {
			cert := tls.Certificate{Certificate: [][]byte{[]byte("garbage")}, PrivateKey: c.Certificates[0].PrivateKey}
			c.Certificates = []tls.Certificate{cert}
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		}},
		{name: "plaintext", plaintext: true},
	}
}

// errWrongPeer stands for the reason that depends on the role.
var errWrongPeer = errors.New("wrong peer")

func noCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return &tls.Certificate{}, nil
}

// config is the hostile peer's TLS, good for either role.
func (h hostile) config(t testing.TB, w *world, id string) *tls.Config {
	t.Helper()
	svid := w.a.SVID(t, id)
	if h.mint != nil {
		svid = h.mint(t, w, id)
	}
	cert := tls.Certificate{PrivateKey: svid.PrivateKey}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, ClientAuth: tls.RequestClientCert,
		// Unlike Certificates, this is sent whatever the server asks for.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
		NextProtos:           []string{"h2", "http/1.1"},
	}
	if h.tls != nil {
		h.tls(cfg)
	}
	return cfg
}

var faces = []string{"grpc", "http1", "http2"}

func TestHostileClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, h := range append(hostiles(), hostile{name: "control"}) {
		for _, face := range faces {
			t.Run(h.name+"/"+face, func(t *testing.T) {
				t.Parallel()
				cfg := h.config(t, w, clientID)
				var calls atomic.Int64
				var seen rejections
				authorize := security.AuthorizeIDs(spiffeid.RequireFromString(clientID))
				err := attackServer(t, w, face, h.plaintext, cfg, authorize, &seen, &calls)
				if h.name == "control" {
					if err != nil || calls.Load() != 1 {
						t.Errorf("a good client: %v, %d calls", err, calls.Load())
					}
					return
				}
				if err == nil || calls.Load() != 0 {
					t.Errorf("accepted: %v, %d calls reached the handler", err, calls.Load())
				}
				checkReasons(t, h, security.ErrDenied, seen.all())
			})
		}
	}
}

func attackServer(t testing.TB, w *world, face string, plaintext bool, cfg *tls.Config, authorize security.Authorizer, seen *rejections, calls *atomic.Int64) error {
	t.Helper()
	if face == "grpc" {
		addr := grpcServer(t, security.ServerCredentials(w.server, authorize, seen.add), calls)
		if plaintext {
			return grpcCall(t, insecure.NewCredentials(), addr)
		}
		return grpcCall(t, credentials.NewTLS(cfg), addr)
	}
	addr := httpServer(t, must[*tls.Config](t)(security.HTTPServerTLS(w.server, authorize, seen.add)), calls, nil)
	if plaintext {
		return plainGet(t, addr)
	}
	_, err := httpCall(t, cfg, addr, face == "http2")
	return err
}

func TestHostileServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, h := range append(hostiles(), hostile{name: "control"}) {
		for _, face := range faces {
			t.Run(h.name+"/"+face, func(t *testing.T) {
				t.Parallel()
				cfg := h.config(t, w, serverID)
				if h.name == "no certificate" {
					cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }
				}
				var calls atomic.Int64
				err := lureClient(t, w, face, h.plaintext, cfg, &calls)
				if h.name == "control" {
					if err != nil || calls.Load() != 1 {
						t.Errorf("a good server: %v, %d calls", err, calls.Load())
					}
					return
				}
				if err == nil || calls.Load() != 0 {
					t.Errorf("accepted: %v, %d calls reached the handler", err, calls.Load())
				}
				var he *security.HandshakeError
				if face != "grpc" && errors.As(err, &he) { // gRPC gives the text only
					checkReasons(t, h, security.ErrUnexpectedPeer, []*security.HandshakeError{he})
				} else if h.want != nil && face != "grpc" {
					t.Errorf("%v is no HandshakeError", err)
				}
			})
		}
	}
}

func lureClient(t testing.TB, w *world, face string, plaintext bool, cfg *tls.Config, calls *atomic.Int64) error {
	t.Helper()
	if face == "grpc" {
		creds := credentials.NewTLS(cfg)
		if plaintext {
			creds = insecure.NewCredentials()
		}
		return grpcCall(t, security.ClientCredentials(w.client, expectID(serverID)), grpcServer(t, creds, calls))
	}
	var addr string
	if plaintext {
		addr = plainServer(t, calls)
	} else {
		addr = httpServer(t, cfg, calls, nil)
	}
	_, err := httpCall(t, must[*tls.Config](t)(security.HTTPClientTLS(w.client, serverID)), addr, face == "http2")
	return err
}

// checkReasons looks at what was reported: the right reason, in one short line.
func checkReasons(t *testing.T, h hostile, wrongPeer error, seen []*security.HandshakeError) {
	t.Helper()
	want := h.want
	if want == errWrongPeer {
		want = wrongPeer
	}
	if want == nil {
		return
	}
	if len(seen) == 0 {
		t.Errorf("no rejection was reported, want %v", want)
	}
	for _, e := range seen {
		if !errors.Is(e, want) {
			t.Errorf("reason %v, want %v", e, want)
		}
		if text := e.Error(); strings.ContainsAny(text, "\r\n\x00") || len(text) > 3*256+512 || !strings.HasPrefix(text, "security: peer ") {
			t.Errorf("reported as %q", text)
		}
	}
}

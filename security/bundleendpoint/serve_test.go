package bundleendpoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/testpki"
)

type noKeys struct{}

func (noKeys) GetJWTBundleForTrustDomain(spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	return nil, errors.New("the agent is away")
}

// TestHandler: what is served, and what is not.
func TestHandler(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, domain)
	keys := jwtbundle.New(ca.TrustDomain)
	if err := keys.AddJWTAuthority("k1", ca.Cert.PublicKey); err != nil {
		t.Fatal(err)
	}
	src := testpki.NewSource(ca.SVID(t, serverID), ca.Bundle())
	empty := testpki.NewSource(ca.SVID(t, serverID), spiffebundle.New(ca.TrustDomain).X509Bundle())
	for name, tc := range map[string]struct {
		method string
		cfg    HandlerConfig
		want   int
	}{
		"GET":               {"GET", HandlerConfig{X509: src, JWT: keys, Sequence: func() uint64 { return 3 }, RefreshHint: time.Minute}, 200},
		"HEAD":              {"HEAD", HandlerConfig{X509: src}, 200},
		"POST":              {"POST", HandlerConfig{X509: src}, 405},
		"an empty bundle":   {"GET", HandlerConfig{X509: empty}, 503},
		"no bundle":         {"GET", HandlerConfig{X509: testpki.NewSource(nil)}, 503},
		"keys out of reach": {"GET", HandlerConfig{X509: src, JWT: noKeys{}}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.TrustDomain = domain
			h, err := Handler(tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(tc.method, "/", nil))
			if rec.Code != tc.want {
				t.Fatalf("status %d, want %d", rec.Code, tc.want)
			}
			if bytes.Contains(rec.Body.Bytes(), []byte("away")) {
				t.Errorf("it tells the world: %s", rec.Body)
			}
			if name != "GET" {
				return
			}
			b, err := spiffebundle.Parse(ca.TrustDomain, rec.Body.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			hint, _ := b.RefreshHint()
			n, _ := b.SequenceNumber()
			if !b.X509Bundle().Equal(ca.Bundle()) || !b.HasJWTAuthority("k1") || hint != time.Minute || n != 3 || rec.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%v %v\n%s", rec.Header(), rec.Code, rec.Body)
			}
		})
	}
	for name, cfg := range map[string]HandlerConfig{
		"no domain": {X509: src}, "no source": {TrustDomain: domain},
		"a negative hint": {TrustDomain: domain, X509: src, RefreshHint: -1}, "a hint below a second": {TrustDomain: domain, X509: src, RefreshHint: time.Millisecond},
	} {
		if _, err := Handler(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestServerTLS: it presents the newest SVID and asks clients for nothing; go-spiffe's
// own client reads what we serve.
func TestServerTLS(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, domain)
	src := testpki.NewSource(ca.SVID(t, serverID), ca.Bundle())
	h, err := Handler(HandlerConfig{TrustDomain: domain, X509: src})
	if err != nil {
		t.Fatal(err)
	}
	e := serve(t, src)
	e.set(h.ServeHTTP)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", e.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				t.Error("a certificate is asked for")
				return &tls.Certificate{}, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	id := spiffeid.RequireFromString(serverID)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := federation.FetchBundle(ctx, ca.TrustDomain, e.URL, federation.WithSPIFFEAuth(ca.Bundle(), id))
	if err != nil || !b.X509Bundle().Equal(ca.Bundle()) {
		t.Errorf("%v, %v", b, err)
	}
	// And ours reads what go-spiffe serves.
	theirs, err := federation.NewHandler(ca.TrustDomain, bundle(ca, 2))
	if err != nil {
		t.Fatal(err)
	}
	e.set(theirs.(http.HandlerFunc))
	s := follow(t, Config{TrustDomain: domain, URL: e.URL, EndpointID: serverID, Bootstrap: ca.Bundle()})
	if st := s.Status(); st.Sequence != 2 || st.Err != nil {
		t.Errorf("%+v", st)
	}
	if _, err := ServerTLS(nil); err == nil {
		t.Error("ServerTLS of nothing")
	}
}

package security

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/testpki"
)

// What we accept go-spiffe accepts, as the same ID, and it reads back unchanged.
func FuzzSPIFFEID(f *testing.F) {
	for _, s := range []string{
		"spiffe://td/ns/default/dc/aws/svc/web", "spiffe://td/ap/p/ns/default/dc/aws/svc/web", "spiffe://td/x", "spiffe://td",
		"spiffe://TD/x", "SPIFFE://td/x", "spiffe://td:1/x", "spiffe://a@td/x", "spiffe://td/%2e", "spiffe://td/../x", "spiffe://td/x/", "https://td/x", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseID(s)
		theirs, terr := spiffeid.FromString(s)
		if err == nil && (terr != nil || theirs != id || id.String() != s || id.Path() == "" || len(s) > maxIDLen) {
			t.Errorf("accepted %q: %v, go-spiffe: %v, %v", s, id, theirs, terr)
		}
		svc, serr := ParseServiceID(s)
		if serr != nil {
			if text := serr.Error(); strings.ContainsAny(text, "\x00\r\n\x1b") || !strings.HasPrefix(text, "security: ") {
				t.Errorf("error %q", text)
			}
			return
		}
		if err != nil {
			t.Errorf("a service ID that is no SPIFFE ID: %q", s)
		}
		if back, err := svc.ID(); err != nil || back.String() != s {
			t.Errorf("%q became %+v and then %v, %v", s, svc, back, err)
		}
	})
}

// No bytes panic, and none are accepted that our CA did not sign.
func FuzzPeerCertDER(f *testing.F) {
	ca := testpki.New(f, "a.example")
	src := testpki.NewSource(ca.SVID(f, "spiffe://a.example/web"), ca.Bundle())
	good := ca.SVID(f, "spiffe://a.example/web").Certificates[0].Raw
	strange := testpki.New(f, "a.example").SVID(f, "spiffe://a.example/web").Certificates[0].Raw
	f.Add(strange, []byte{})
	f.Add(strange, ca.Cert.Raw)
	f.Add(good[:len(good)-1], good)
	f.Add(ca.Cert.Raw, good)
	f.Fuzz(func(t *testing.T, leaf, rest []byte) {
		c, err := x509.ParseCertificate(leaf)
		if err != nil {
			return
		}
		chain := []*x509.Certificate{c}
		if more, err := x509.ParseCertificates(rest); err == nil {
			chain = append(chain, more...)
		}
		for _, us := range []Side{ClientSide, ServerSide} {
			id, err := verifyPeer(chain, src, us)
			if err == nil && c.CheckSignatureFrom(ca.Cert) != nil {
				t.Errorf("accepted %s, which is not signed by the CA", id)
			}
			if err != nil {
				e := &HandshakeError{Side: us, Got: id.String(), Expected: "x", Err: err}
				if text := e.Error(); len(text) > 2048 || strings.ContainsAny(text, "\x00\r\n\x1b") {
					t.Errorf("error text %q", text)
				}
			}
		}
	})
}

package bundleendpoint

import (
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/testpki"
)

// FuzzBundle: what is read is of the domain that was asked for, within bounds, and
// reads the same again; what is not has a reason of one line.
func FuzzBundle(f *testing.F) {
	ca := testpki.New(f, domain)
	doc, err := bundle(ca, 3).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(doc), `{"keys":[]}`, `{"keys":null}`, `{}`, `{"keys":[{"use":"x509-svid"}]}`,
		`{"keys":[{"kty":"EC","use":"jwt-svid","kid":"","crv":"P-256","x":"AA","y":"AA"}]}`,
		`{"keys":[{"kty":"strange","use":"x509-svid"}],"spiffe_sequence":1}`,
		`{"keys":[],"spiffe_sequence":18446744073709551616,"spiffe_refresh_hint":9223372036854775807}`,
	} {
		f.Add([]byte(seed))
	}
	td := spiffeid.RequireTrustDomainFromString(domain)
	now := time.Now()
	f.Fuzz(func(t *testing.T, doc []byte) {
		_, _, _ = decode(td, doc, now) // ends
		b, err := parse(td, doc)
		if err != nil {
			for _, r := range err.Error() {
				if r < ' ' {
					t.Fatalf("the reason has a control byte: %q", err)
				}
			}
			return
		}
		if b.TrustDomain() != td || len(b.X509Authorities()) > maxAuthorities {
			t.Fatalf("bundle of %v with %d authorities", b.TrustDomain(), len(b.X509Authorities()))
		}
		again, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := parse(td, again); len(b.X509Authorities())+len(b.JWTAuthorities()) > 0 && (err != nil || !c.X509Bundle().Equal(b.X509Bundle())) {
			t.Fatalf("not the same when read again: %v", err)
		}
	})
}

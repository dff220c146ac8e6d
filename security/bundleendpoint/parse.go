package bundleendpoint

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// maxAuthorities bounds a bundle: each one costs every handshake of its domain.
const maxAuthorities = 100

// parse reads a bundle document, which must be of bounded size.
func parse(td spiffeid.TrustDomain, doc []byte) (*spiffebundle.Bundle, error) {
	b, err := spiffebundle.Parse(td, doc)
	if err != nil {
		return nil, &quoted{err}
	}
	if n := len(b.X509Authorities()) + len(b.JWTAuthorities()); n > maxAuthorities {
		return nil, fmt.Errorf("the bundle has %d authorities, the limit is %d", n, maxAuthorities)
	}
	for _, c := range b.X509Authorities() {
		if !c.IsCA {
			return nil, errors.New("the bundle has an X.509 authority that is no CA certificate")
		}
	}
	return b, nil
}

// quoted makes an error's text safe to log, and keeps what errors.Is finds.
type quoted struct{ err error }

func (q *quoted) Error() string {
	s := q.err.Error()
	if len(s) > 512 {
		s = s[:512] + "…"
	}
	s = strconv.QuoteToGraphic(s)
	return s[1 : len(s)-1]
}

func (q *quoted) Unwrap() error { return q.err }

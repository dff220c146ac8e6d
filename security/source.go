package security

import (
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Source is who we are and whom we trust: the newest X.509 SVID of this
// process, and the bundle of each trust domain, never merged. Both are read on
// every handshake, so they must be fast and must not block; both are go-spiffe's
// own interfaces, so that workloadapi.X509Source and others are Sources as they are.
type Source interface {
	x509svid.Source
	x509bundle.Source
}

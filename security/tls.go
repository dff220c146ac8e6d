package security

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ClientTLS makes the configuration of connections to one peer: the one whose
// SPIFFE ID is exactly expect. Verification is in VerifyConnection, which
// crypto/tls also calls for resumed sessions; InsecureSkipVerify is set only
// because SVIDs carry no host name. ServerName is the one that Consul's proxies know the
// service by, if the ID is of Consul's form, else empty. The caller may set
// NextProtos and ServerName; nothing else should be changed.
//
// It fails if src is nil or expect is not a SPIFFE ID of a workload.
func ClientTLS(src Source, expect string) (*tls.Config, error) {
	if src == nil {
		return nil, errors.New("security: ClientTLS needs a Source, got nil")
	}
	if expect == "" {
		return nil, fmt.Errorf("security: ClientTLS: %w: pass the exact ID, it is never guessed", ErrNoExpectedID)
	}
	want, err := parseID(expect)
	if err != nil {
		return nil, fmt.Errorf("security: ClientTLS: expected %w", err)
	}
	return clientTLS(src, want), nil
}

func clientTLS(src Source, want spiffeid.ID) *tls.Config {
	sni := ""
	if s, err := serviceID(want); err == nil {
		sni = s.SNI()
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: sni,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return ownCertificate(src)
		},
		InsecureSkipVerify: true, // replaced by VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			id, err := verifyPeer(cs.PeerCertificates, src, ClientSide)
			if err == nil && id != want {
				err = fmt.Errorf("%w: the address may belong to another instance now, or the catalog's identity for it is wrong", ErrUnexpectedPeer)
			}
			if err != nil {
				return &HandshakeError{Side: ClientSide, Expected: want.String(), Got: id.String(), Err: err}
			}
			return nil
		},
		SessionTicketsDisabled: true,
	}
}

// ServerTLS makes the configuration of a server. Each client must prove a SPIFFE ID
// that authorize accepts; nil accepts the members of our own trust domain. What
// is refused is refused before a handler runs; the client sees no reason, only
// "bad certificate", usually on its first read.
//
// Each function of rejected is called with the reason when a client is refused,
// on the connection's goroutine; it must not block.
//
// It fails if src is nil.
func ServerTLS(src Source, authorize Authorizer, rejected ...func(*HandshakeError)) (*tls.Config, error) {
	if src == nil {
		return nil, errors.New("security: ServerTLS needs a Source, got nil")
	}
	return serverTLS(src, authorize, rejected), nil
}

func serverTLS(src Source, authorize Authorizer, rejected []func(*HandshakeError)) *tls.Config {
	expected := "an authorized client"
	if authorize == nil {
		authorize, expected = ownTrustDomain(src), "a member of our own trust domain"
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return ownCertificate(src)
		},
		ClientAuth: tls.RequireAnyClientCert, // verified by VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			id, err := verifyPeer(cs.PeerCertificates, src, ServerSide)
			if err == nil {
				if err = authorize(PeerID{id}); err == nil {
					return nil
				}
				err = fmt.Errorf("%w: %w", ErrDenied, err)
			}
			e := &HandshakeError{Side: ServerSide, Expected: expected, Got: id.String(), Err: err}
			if !cs.HandshakeComplete { // else Live looks at it again
				for _, f := range rejected {
					f(e)
				}
			}
			return e
		},
		// A ticket would let a client come back for a week with what was verified then.
		SessionTicketsDisabled: true,
	}
}

// peerOf is the identity of the other end of a connection that was made with a
// configuration of this package; false for any other connection.
func peerOf(cs *tls.ConnectionState) (PeerID, bool) {
	if cs == nil || !cs.HandshakeComplete || len(cs.PeerCertificates) == 0 || len(cs.PeerCertificates[0].URIs) != 1 {
		return PeerID{}, false
	}
	// The handshake has seen that the URI is spelled canonically, so that these
	// three parts are all of it, and cheaper than its String.
	u := cs.PeerCertificates[0].URIs[0]
	id, err := parseID(u.Scheme + "://" + u.Host + u.Path)
	return PeerID{id}, err == nil
}

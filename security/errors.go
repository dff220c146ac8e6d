package security

import (
	"errors"

	"github.com/weft-mesh/weft/security/internal/foreign"
)

// The reasons a handshake or a construction fails with; test for them with
// errors.Is. The text of what is returned says more.
var (
	// ErrNoIdentity: this process has no SVID that it could present now: none yet,
	// or only one that has expired.
	ErrNoIdentity = errors.New("no usable identity of our own")
	// ErrNoExpectedID: nobody said which SPIFFE ID the dialled endpoint must
	// have. Nothing has been sent to it.
	ErrNoExpectedID = errors.New("no expected SPIFFE ID for the endpoint")
	// ErrBadSVID: the peer's certificates are not an X.509-SVID, or are too many or
	// too big, or are not for this side of a connection.
	ErrBadSVID = errors.New("not a valid X.509-SVID")
	// ErrUnknownTrustDomain: we have no bundle, or an empty one, for the peer's trust domain.
	ErrUnknownTrustDomain = errors.New("no bundle for the trust domain")
	// ErrExpired: a certificate of the peer is not valid yet, or no longer.
	ErrExpired = errors.New("certificate not valid at this time")
	// ErrUntrusted: the peer's chain does not lead to its trust domain's bundle.
	ErrUntrusted = errors.New("chain not signed by the trust domain")
	// ErrUnexpectedPeer: the peer is verified, but is not the one that was dialled.
	ErrUnexpectedPeer = errors.New("not the expected peer")
	// ErrDenied: the peer is verified, but the Authorizer does not want it.
	ErrDenied = errors.New("peer not authorized")
)

// Side is the end of a connection that this process is.
type Side string

// The two ends of a connection.
const (
	ClientSide Side = "client"
	ServerSide Side = "server"
)

// HandshakeError says why we refused a peer. Its text is safe to log: what came
// from the peer is escaped and cut to 256 bytes.
type HandshakeError struct {
	// Side is which end of the connection we were.
	Side Side
	// Expected is the SPIFFE ID that was expected (client), or in words who may
	// connect (server).
	Expected string
	// Got is the peer's SPIFFE ID; empty if it showed none that is well formed.
	// It is proven only if Err is ErrUnexpectedPeer or ErrDenied.
	Got string
	// Err is the reason; errors.Is finds the sentinels of this package in it.
	Err error
}

// Error is one line: who came, who was expected, why it was refused.
func (e *HandshakeError) Error() string {
	got := "peer shows no valid SPIFFE ID"
	if e.Got != "" {
		verb := "peer claims to be "
		if errors.Is(e.Err, ErrUnexpectedPeer) || errors.Is(e.Err, ErrDenied) {
			verb = "peer is "
		}
		got = verb + clip(e.Got)
	}
	reason := "refused"
	if e.Err != nil {
		reason = foreign.Escape(e.Err.Error(), 4*foreign.Max)
	}
	return "security: " + got + ", expected " + clip(e.Expected) + " (" + reason + ")"
}

// Unwrap returns the reason.
func (e *HandshakeError) Unwrap() error { return e.Err }

// clip makes text from outside safe to print.
func clip(s string) string { return foreign.Clip(s) }

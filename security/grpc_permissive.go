package security

import (
	"net"

	"google.golang.org/grpc/credentials"
)

// PermissiveCredentials lets plaintext callers in beside those that creds takes, while
// p lasts. Their AuthInfo says that there is no security, and PeerFromContext knows
// nobody for them. The zero p gives creds back.
func PermissiveCredentials(creds credentials.TransportCredentials, p Permissive) credentials.TransportCredentials {
	if p.Until.IsZero() {
		return creds
	}
	return &permissiveCreds{creds, p}
}

type permissiveCreds struct {
	credentials.TransportCredentials
	p Permissive
}

func (c *permissiveCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, secure, err := c.p.sniff(raw)
	if err != nil {
		_ = raw.Close() // the reason is the one that matters
		return nil, nil, err
	}
	if secure {
		return c.TransportCredentials.ServerHandshake(conn)
	}
	return conn, plaintextInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil // gRPC lifts the deadline
}

func (c *permissiveCreds) Clone() credentials.TransportCredentials {
	return &permissiveCreds{c.TransportCredentials.Clone(), c.p}
}

// plaintextInfo is the AuthInfo of a connection without TLS.
type plaintextInfo struct{ credentials.CommonAuthInfo }

// AuthType implements credentials.AuthInfo.
func (plaintextInfo) AuthType() string { return "plaintext" }

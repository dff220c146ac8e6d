package security

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// These credentials do the TLS themselves instead of wrapping credentials.NewTLS,
// which refuses a peer that negotiates no ALPN protocol: Consul's built-in proxy is
// one. We offer "h2", accept "h2" and none, and refuse any other. ALPN guards
// against an attacker on the path who leads a client to another port of a
// server that holds the same certificate but speaks another protocol. Here he
// gains nothing that ALPN would take from him: both ends are authenticated, the
// client pins the exact identity, and HTTP/2 opens with a preface that a server
// of another protocol does not take for a request.

// ClientCredentials makes the credentials of gRPC clients. For each connection it
// asks expect for the SPIFFE ID that the address must prove, giving it the
// address's attributes; an empty answer, or a nil src or expect, fails the
// connection before anything is sent.
//
// Any ":authority" is accepted (WithAuthority, CallAuthority), because the peer is
// already pinned to one exact identity, and an SVID names no hosts.
func ClientCredentials(src Source, expect func(*attributes.Attributes) string) credentials.TransportCredentials {
	return &clientCreds{src: src, expect: expect}
}

// ServerCredentials makes the credentials of gRPC servers; authorize and rejected
// are as in ServerTLS. A nil src refuses every connection. The handshake ends
// by the server's ConnectionTimeout.
//
// The AuthInfo of a call is a plain credentials.TLSInfo with SPIFFEID set, which is
// what policies of google.golang.org/grpc/authz look for.
func ServerCredentials(src Source, authorize Authorizer, rejected ...func(*HandshakeError)) credentials.TransportCredentials {
	if src == nil {
		return &serverCreds{}
	}
	cfg := serverTLS(src, authorize, rejected)
	cfg.NextProtos = []string{"h2"}
	cfg.GetConfigForClient = refuseOthers
	return &serverCreds{src: src, cfg: cfg}
}

// refuseOthers refuses a client that says it speaks other protocols only.
// crypto/tls does so itself, but lets "http/1.1" pass as if it were none.
func refuseOthers(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) > 0 && !slices.Contains(hello.SupportedProtos, "h2") {
		return nil, errors.New("security: client offers no HTTP/2 by ALPN, gRPC needs it (is it an HTTP/1.1 client at the port of a gRPC server?)")
	}
	return nil, nil
}

// PeerFromContext is who made the call: the identity proven by the connection it
// came on. False if ctx is not of a gRPC handler, or the connection is not mTLS.
//
// It is meaningful only in a server that uses ServerCredentials.
func PeerFromContext(ctx context.Context) (PeerID, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return PeerID{}, false
	}
	switch info := p.AuthInfo.(type) {
	case credentials.TLSInfo:
		return peerOf(&info.State)
	case *clientInfo:
		return peerOf(&info.State)
	}
	return PeerID{}, false
}

// clientInfo is the AuthInfo of a client's connection.
type clientInfo struct{ credentials.TLSInfo }

// ValidateAuthority implements credentials.AuthorityValidator; see ClientCredentials.
func (*clientInfo) ValidateAuthority(string) error { return nil }

type clientCreds struct {
	src    Source
	expect func(*attributes.Attributes) string
}

func (c *clientCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.src == nil || c.expect == nil {
		return nil, nil, errors.New("security: ClientCredentials was made without a Source or without a function that gives the expected SPIFFE ID")
	}
	attrs := credentials.ClientHandshakeInfoFromContext(ctx).Attributes
	cfg, err := ClientTLS(c.src, c.expect(attrs))
	if err != nil {
		return nil, nil, fmt.Errorf("security: connect to %s (authority %s): %w", raw.RemoteAddr(), clip(authority), err)
	}
	cfg.NextProtos = []string{"h2"}
	cfg.ServerName = cmp.Or(cfg.ServerName, hostOf(authority))
	conn := clientConn(c.src, raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.NetConn().Close() // the handshake's error is the one that matters
		return nil, nil, err
	}
	return withSyscall(conn, raw), &clientInfo{tlsInfo(conn)}, nil
}

func (c *clientCreds) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("security: ClientCredentials cannot serve, use ServerCredentials")
}

func (c *clientCreds) Info() credentials.ProtocolInfo          { return protocolInfo() }
func (c *clientCreds) Clone() credentials.TransportCredentials { d := *c; return &d }

// OverrideServerName does nothing: the peer is chosen by its SPIFFE ID, not by a name.
func (c *clientCreds) OverrideServerName(string) error { return nil }

type serverCreds struct {
	src Source
	cfg *tls.Config
}

func (s *serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if s.cfg == nil {
		return nil, nil, errors.New("security: ServerCredentials was made without a Source")
	}
	conn := serverConn(s.src, raw, s.cfg)
	// gRPC has set the deadline of raw, and lifts it after this call.
	if err := conn.Handshake(); err != nil {
		_ = conn.NetConn().Close() // the handshake's error is the one that matters
		return nil, nil, err
	}
	return withSyscall(conn, raw), tlsInfo(conn), nil
}

func (s *serverCreds) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("security: ServerCredentials cannot dial, use ClientCredentials")
}

func (s *serverCreds) Info() credentials.ProtocolInfo          { return protocolInfo() }
func (s *serverCreds) Clone() credentials.TransportCredentials { d := *s; return &d }
func (s *serverCreds) OverrideServerName(string) error         { return nil }

func protocolInfo() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func tlsInfo(conn *tls.Conn) credentials.TLSInfo {
	state := conn.ConnectionState()
	return credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		// verifyPeer has seen that this is the only URI, in canonical spelling.
		SPIFFEID: state.PeerCertificates[0].URIs[0],
	}
}

// syscallConn lets gRPC reach the socket beneath TLS, for TCP_USER_TIMEOUT.
type syscallConn struct {
	*tls.Conn
	raw syscall.Conn
}

func (c *syscallConn) SyscallConn() (syscall.RawConn, error) { return c.raw.SyscallConn() }

func withSyscall(conn *tls.Conn, raw net.Conn) net.Conn {
	if s, ok := raw.(syscall.Conn); ok {
		return &syscallConn{conn, s}
	}
	return conn
}

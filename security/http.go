package security

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// httpProtos is what HTTP ends offer. A peer without ALPN gets HTTP/1.1.
func httpProtos() []string { return []string{"h2", "http/1.1"} }

// HTTPServerTLS is ServerTLS for an http.Server: HTTP/2 and HTTP/1.1. Use it as the
// server's TLSConfig and call ServeTLS with empty file names.
func HTTPServerTLS(src Source, authorize Authorizer, rejected ...func(*HandshakeError)) (*tls.Config, error) {
	cfg, err := ServerTLS(src, authorize, rejected...)
	if err != nil {
		return nil, err
	}
	cfg.NextProtos = httpProtos()
	return cfg, nil
}

// HTTPClientTLS is ClientTLS for HTTP: it offers HTTP/2 and HTTP/1.1.
//
// As an http.Transport pools connections by address, and not by the identity
// behind it, one Transport with this configuration must dial one endpoint only.
// For more use DialTLS.
func HTTPClientTLS(src Source, expect string) (*tls.Config, error) {
	cfg, err := ClientTLS(src, expect)
	if err != nil {
		return nil, err
	}
	cfg.NextProtos = httpProtos()
	return cfg, nil
}

// DialFunc connects to an address, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// DialTLS makes a function for http.Transport.DialTLSContext. For each connection
// it asks expect for the SPIFFE ID that belongs to the "host:port" of the URL; the
// empty string refuses, before anything is sent. Two identities must never share
// a "host:port", because the Transport would share their connections.
//
// protos are the ALPN names to offer; none means "h2" and "http/1.1". dial makes the
// connection beneath; nil is a net.Dialer. The result is a *tls.Conn.
func DialTLS(src Source, expect func(addr string) string, dial DialFunc, protos ...string) (DialFunc, error) {
	if src == nil || expect == nil {
		return nil, errors.New("security: DialTLS needs a Source and a function that gives the expected SPIFFE ID, got nil")
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if len(protos) == 0 {
		protos = httpProtos()
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		cfg, err := ClientTLS(src, expect(addr))
		if err != nil {
			return nil, fmt.Errorf("security: dial %s: %w", clip(addr), err)
		}
		cfg.NextProtos = protos
		cfg.ServerName = cmp.Or(cfg.ServerName, hostOf(addr))
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn := clientConn(src, raw, cfg)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = conn.NetConn().Close() // the handshake's error is the one that matters
			return nil, err
		}
		return conn, nil
	}, nil
}

// PeerFromRequest is who sent the request: the identity proven by the connection
// it came on. False for a connection without TLS.
//
// It is meaningful only in a server that uses ServerTLS or HTTPServerTLS: with
// another configuration the certificate may not have been verified.
func PeerFromRequest(r *http.Request) (PeerID, bool) {
	if r == nil {
		return PeerID{}, false
	}
	return peerOf(r.TLS)
}

// hostOf strips the port of an authority.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return authority
}

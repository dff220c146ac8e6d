package coalesce

import (
	"crypto/tls"
	"net"
	"net/http"
)

// Listener makes a Conn of each connection that l accepts.
func Listener(l net.Listener) net.Listener { return &listener{Listener: l} }

type listener struct {
	net.Listener
	buffers Buffers
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return New(c, &l.buffers), nil
}

// ConnState is for http.Server: it lets the connections of HTTP/2 collect, and calls
// next, if there is one.
func ConnState(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(c net.Conn, s http.ConnState) {
		if s == http.StateActive { // the handshake is over
			if x := Of(c); x != nil && x.Decide() && speaksHTTP2(c) {
				x.Collect()
			}
		}
		if next != nil {
			next(c, s)
		}
	}
}

func speaksHTTP2(c net.Conn) bool {
	t, ok := c.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}

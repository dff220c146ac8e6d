//go:build unix

package http1

import (
	"io"
	"net"
	"syscall"
)

// Wire is a socket, beneath TLS if there is any, that can be asked whether anything has
// come in. What reads through it must not do so while it is asked.
type Wire struct {
	net.Conn
	raw     syscall.RawConn
	tls     bool
	records records
	probing bool
	dry     bool                  // the socket itself is not asked
	look    func(fd uintptr) bool // reads into p what is there
	p       []byte
	n       int
	err     error
}

// NewWire makes a Wire of a connection that is a socket and nothing else; nil: it is not.
// tls says whether TLS is spoken on it.
func NewWire(c net.Conn, tls bool) *Wire {
	sc, ok := c.(syscall.Conn)
	if !ok || !Plain(c) {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	w := &Wire{Conn: c, raw: raw, tls: tls}
	w.look = func(fd uintptr) bool {
		switch w.n, w.err = syscall.Read(int(fd), w.p); {
		case w.err == syscall.EAGAIN || w.err == syscall.EWOULDBLOCK:
			w.n, w.err = 0, nothing{}
		case w.err == nil && w.n <= 0:
			w.n, w.err = 0, io.EOF
		}
		return true
	}
	return w
}

// Plain reports whether NewWire would make a Wire of c.
func Plain(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// Read implements io.Reader.
func (w *Wire) Read(p []byte) (n int, err error) {
	switch {
	case !w.probing:
		n, err = w.Conn.Read(p)
	case w.dry:
		err = nothing{}
	default:
		w.p = p
		if err = w.raw.Read(w.look); err == nil {
			n, err = max(w.n, 0), w.err
		}
		w.p = nil
	}
	if w.tls {
		w.records.pass(p[:n])
	}
	return n, err
}

// probe reports whether read, which reads through w, finds nothing there, nor in what it
// has taken from w before; dry, only the latter, without a system call. It does not wait.
// What TLS says for itself, as a new session ticket, is nothing.
func (w *Wire) probe(dry bool, read func() error) bool {
	w.probing, w.dry = true, dry
	err := read()
	w.probing = false
	return err == nothing{} && !w.records.within()
}

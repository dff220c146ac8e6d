package coalesce

import "net"

const (
	readAhead = 16 << 10 // one full TLS record
	// A reader gets a buffer when that many reads in a row were filled to the last
	// byte, and loses it when as many could have done without, so that a connection
	// with little to do has none.
	readsFull  = 8
	readsSmall = 256
	small      = 2 << 10
)

// ahead is what was read beyond what was asked for.
type ahead struct {
	buf  []byte // nil: reads go straight to the connection
	rest []byte // of buf
	err  error  // that came with the last of rest
	runs int    // full reads without a buffer, small ones with one
}

func (a *ahead) read(c net.Conn, p []byte) (n int, err error) {
	switch {
	case len(a.rest) > 0:
	case a.buf == nil:
		if n, err = c.Read(p); n < len(p) {
			a.runs = 0
		} else if a.runs++; a.runs >= readsFull {
			*a = ahead{buf: make([]byte, readAhead)}
		}
		return n, err
	case len(p) >= len(a.buf):
		return c.Read(p)
	default:
		n, a.err = c.Read(a.buf)
		a.rest = a.buf[:n]
		if n > small {
			a.runs = 0
		} else if a.runs++; a.runs >= readsSmall {
			a.buf, a.runs = nil, 0 // rest keeps what it needs
		}
	}
	if n = copy(p, a.rest); n < len(a.rest) {
		a.rest = a.rest[n:]
		return n, nil
	}
	a.rest, err, a.err = nil, a.err, nil
	return n, err
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.collecting.Load() {
		return c.Conn.Read(p)
	}
	n, err := c.ahead.read(c.Conn, p)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.err != nil:
			err = c.err
		case c.closing:
			err = net.ErrClosed
		}
	}
	return n, err
}

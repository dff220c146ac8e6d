package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// conn is a connection. One call at a time has it, and with it all of its fields.
type conn struct {
	net   net.Conn
	wire  *Wire
	tls   *tls.ConnectionState // nil: no TLS
	br    *bufio.Reader        // of conn itself, which counts
	bw    *bufio.Writer
	abort func() // breaks the call under way

	used  bool      // by a call before, or kept for one
	limit int64     // bytes that may still be read
	wrote int64     // bytes of the request that were written
	eof   bool      // the peer has ended it
	since time.Time // of idleness
	one   [1]byte
}

func newConn(nc net.Conn, wire *Wire) *conn {
	c := &conn{net: nc, wire: wire}
	c.br, c.bw = bufio.NewReader(c), bufio.NewWriter(c)
	below := nc
	if tc, ok := nc.(*tls.Conn); ok {
		state := tc.ConnectionState()
		c.tls, below = &state, tc.NetConn()
	}
	// Without a farewell, which a peer that reads nothing would hold up.
	c.abort = func() { _ = below.Close() }
	return c
}

func (c *conn) close() { _ = c.net.Close() }

// Read implements io.Reader for br.
func (c *conn) Read(p []byte) (int, error) {
	if c.limit <= 0 {
		return 0, errLimit
	}
	if int64(len(p)) > c.limit {
		p = p[:c.limit]
	}
	n, err := c.net.Read(p)
	c.limit -= int64(n)
	if err == io.EOF {
		c.eof = true
	}
	return n, err
}

// Write implements io.Writer for bw.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.net.Write(p)
	c.wrote += int64(n)
	return n, err
}

// silent reports whether the peer has neither sent anything since the last response nor
// ended the connection. What TLS has read in advance counts too. The socket of a fresh
// connection is not asked.
func (c *conn) silent(fresh bool) bool {
	return c.wire.probe(fresh, func() error {
		_, err := c.net.Read(c.one[:])
		return err
	})
}

// stage is how far a call has come.
type stage int

const (
	writing stage = iota
	waiting       // for the first byte of an answer
	reading
)

var (
	errLimit    = errors.New("the limit of the response's header is exhausted")
	errSwitched = errors.New("http1: the server switched protocols, which nobody asked for")
)

// exchange sends the request and reads the header of its response.
func (c *conn) exchange(req *http.Request, maxHeader int64) (*http.Response, stage, error) {
	c.limit, c.wrote = maxHeader, 0
	err := req.Write(c.bw)
	if err == nil {
		err = c.bw.Flush()
	}
	if err != nil {
		return nil, writing, err
	}
	if _, err := c.br.Peek(1); err != nil {
		return nil, waiting, err
	}
	for {
		resp, err := http.ReadResponse(c.br, req)
		switch {
		case err != nil:
			return nil, reading, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, reading, errSwitched
		case resp.StatusCode < 100 || resp.StatusCode > 199:
			return resp, reading, nil
		}
	}
}

// failure is what the caller is told, by the rules of http.Transport: a connection that
// was used before may have been ended by the peer just before the request came.
func (c *conn) failure(req *http.Request, at stage, maxHeader int64, err error) error {
	ctx := req.Context()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case c.used && at == writing && c.wrote == 0:
		return ErrElsewhere
	case c.used && at == waiting && repeatable(req):
		return ErrElsewhere
	case at == waiting || at == writing && c.wrote == 0:
		return err
	case at == reading && c.limit <= 0:
		err = fmt.Errorf("net/http: server response headers exceeded %d bytes; aborted", maxHeader)
	}
	return fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err)
}

// repeatable reports whether a server may be sent the request twice. An eligible one
// has a body that can be had again.
func repeatable(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	_, a := req.Header["Idempotency-Key"]
	_, b := req.Header["X-Idempotency-Key"]
	return a || b
}

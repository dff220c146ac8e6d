package drill

import (
	"net"
	"sync"
	"time"
)

// conn is one end of a connection.
type conn struct {
	n             *Net
	host          *host // of the server
	pair          *pair
	in, out       *half
	local, remote net.Addr
	once          sync.Once
}

// pair is what both ends share; guarded by Net.mu.
type pair struct {
	server *conn
	closed int
}

func newPair(n *Net, h *host, from string, l *Listener) (caller, server *conn) {
	there, back := newHalf(n, from, l.host), newHalf(n, l.host, from)
	here := &net.TCPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 40000}
	p := &pair{server: &conn{n: n, host: h, in: there, out: back, local: l.addr, remote: here}}
	p.server.pair = p
	return &conn{n: n, host: h, pair: p, in: back, out: there, local: here, remote: l.addr}, p.server
}

// follow makes the server's end of a connection suffer what its host does.
func (c *conn) follow(f Fault) {
	c.in.hold(f&HoldIn != 0)
	c.out.hold(f&HoldOut != 0)
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	c.once.Do(func() {
		c.in.close(true)
		c.out.close(false)
		c.n.mu.Lock()
		c.n.open--
		if c.pair.closed++; c.pair.closed == 2 { // until then faults come and go
			delete(c.host.conns, c.pair.server)
		}
		c.n.mu.Unlock()
	})
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.in.deadline(true, t)
	c.out.deadline(false, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { c.in.deadline(true, t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.out.deadline(false, t); return nil }

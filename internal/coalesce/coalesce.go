// Package coalesce sends what many small writes to a connection add up to.
//
// The HTTP/2 of net/http makes a system call for each frame: two for a request with a
// body, two for its response. Under a lock that all streams share, nothing can be
// added meanwhile. A [Conn] below TLS takes what is written and returns; one goroutine,
// which lives while there is something to send, sends all that came in the meantime at
// once. It is what grpc-go's writer does, at the level of bytes. And as records come in
// heaps then, a Conn reads more than one of them at a time; crypto/tls does not.
package coalesce

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxPending is how many bytes may wait before writes do; it is what a few full
	// frames come to. A write is never split, so that there may be one more of them.
	maxPending = 64 << 10
	// grace is how long what was written before Close may take to leave.
	grace = time.Second
)

// Buffers are those of many connections: the zero value is ready. A connection has one
// only while it has something to send.
type Buffers struct{ pool sync.Pool }

func (b *Buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, 0, 4<<10)
	return &p
}

func (b *Buffers) put(p *[]byte) {
	*p = (*p)[:0]
	b.pool.Put(p)
}

// Conn is a connection that collects what is written to it, from Collect on; before,
// it is the connection that it was made of. It has one reader at a time.
//
// An error of sending closes the connection, and is that of all reads and writes that
// follow: who wrote has gone on. Close sends what is left, for a second at most and
// without waiting for it; a second Close does not.
type Conn struct {
	net.Conn
	buffers    *Buffers
	send       func() // c.run, made once
	collecting atomic.Bool
	decided    atomic.Bool
	ahead      ahead // of the one reader

	mu      sync.Mutex
	changed sync.Cond
	pending *[]byte // what is to be sent; nil: nothing
	running bool    // there is a goroutine that sends
	late    bool    // the deadline of writes has passed
	closing bool
	err     error // of sending
}

// New makes a Conn of c.
func New(c net.Conn, b *Buffers) *Conn {
	x := &Conn{Conn: c, buffers: b}
	x.changed.L = &x.mu
	x.send = x.run
	return x
}

// Of finds the Conn below c, or nil.
func Of(c net.Conn) *Conn {
	for c != nil {
		if x, ok := c.(*Conn); ok {
			return x
		}
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = outer.NetConn()
	}
	return nil
}

// NetConn is the connection that c was made of.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Collect begins to collect writes.
func (c *Conn) Collect() { c.collecting.Store(true) }

// Decide is true the first time, for who decides about Collect.
func (c *Conn) Decide() bool { return !c.decided.Load() && !c.decided.Swap(true) }

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.collecting.Load() {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.pending != nil && len(*c.pending) >= maxPending && !c.late && !c.closing && c.err == nil {
		c.changed.Wait()
	}
	switch {
	case c.err != nil:
		return 0, c.err
	case c.closing:
		return 0, net.ErrClosed
	case c.late:
		return 0, os.ErrDeadlineExceeded
	}
	if c.pending == nil {
		c.pending = c.buffers.get()
	}
	*c.pending = append(*c.pending, p...)
	if !c.running {
		c.running = true
		go c.send()
	}
	return len(p), nil
}

// run sends until nothing is left.
func (c *Conn) run() {
	c.mu.Lock()
	for c.pending != nil && c.err == nil {
		out := c.pending
		c.pending = nil
		c.changed.Broadcast()
		c.mu.Unlock()
		_, err := c.Conn.Write(*out)
		c.buffers.put(out)
		c.mu.Lock()
		c.err = err
	}
	c.running = false
	done := c.closing || c.err != nil
	c.changed.Broadcast()
	c.mu.Unlock()
	if done {
		_ = c.Conn.Close() // readers hear of it, and why
	}
}

// SetWriteDeadline implements net.Conn. One that has passed is for writes to come, and
// not for what was taken: crypto/tls sets it behind its last alert.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.collecting.Load() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.late = !t.IsZero() && !t.After(time.Now()); c.late {
			c.changed.Broadcast()
			return nil
		}
		if c.closing {
			return net.ErrClosed // Close has set the last one
		}
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.Conn.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.closing
	c.closing = true
	c.changed.Broadcast()
	if again || !c.running {
		return c.Conn.Close()
	}
	now := time.Now()
	if err := c.Conn.SetWriteDeadline(now.Add(grace)); err != nil {
		return c.Conn.Close()
	}
	return c.Conn.SetReadDeadline(now) // readers go
}

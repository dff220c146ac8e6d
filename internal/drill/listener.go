package drill

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Listener accepts the connections to an address.
type Listener struct {
	n    *Net
	host string
	addr *net.TCPAddr
	in   chan *conn
	done chan struct{}
	once sync.Once
}

// Listen opens addr at a host.
func (n *Net) Listen(name string, addr *net.TCPAddr) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr.String()] != nil {
		return nil, fmt.Errorf("drill: %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &Listener{n: n, host: name, addr: addr, in: make(chan *conn, 128), done: make(chan struct{})}
	n.listeners[addr.String()] = l
	n.hostLocked(name)
	return l, nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }

// Accept implements net.Listener. A stopped process does not accept.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		if err := l.n.await(context.Background(), l.host, Stop, l.done); err != nil {
			_ = c.Close()
			return nil, net.ErrClosed
		}
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.n.mu.Lock()
		delete(l.n.listeners, l.addr.String())
		l.n.mu.Unlock()
		for {
			select {
			case c := <-l.in:
				c.in.fail(syscall.ECONNRESET)
				c.out.fail(syscall.ECONNRESET)
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

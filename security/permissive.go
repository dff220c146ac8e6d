package security

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/weft-mesh/weft/security/internal/wall"
)

// ErrPlaintext means that a caller spoke no TLS to a port that takes nothing else, or no longer.
var ErrPlaintext = errors.New("caller speaks no TLS")

// Permissive lets plaintext callers in beside mutual TLS, on the same port, while a
// service is migrated. A plaintext caller has no identity: it can be anybody who
// reaches the port. The zero value is off.
type Permissive struct {
	// Until is when it ends, by the wall clock: from then on plaintext is refused, and open plaintext
	// connections are closed. Zero: it is off.
	Until time.Time
	// Seen hears of each plaintext connection, accepted or (past Until) refused, and
	// must not block. nil: nobody does.
	Seen func(remote net.Addr, accepted bool)
	// Patience bounds the wait for a connection's first byte. 0: 5 s.
	Patience time.Duration
}

// recordHandshake is the first byte of each TLS connection.
const recordHandshake = 0x16

// sniff tells TLS from plaintext by the first byte. On success the deadline that it
// set stays, for the handshake.
func (p Permissive) sniff(raw net.Conn) (conn net.Conn, secure bool, err error) {
	patience := p.Patience
	if patience <= 0 {
		patience = 5 * time.Second
	}
	if err := raw.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, false, err
	}
	c := &sniffed{Conn: raw, r: bufio.NewReaderSize(raw, 4096)}
	first, err := c.r.Peek(1)
	if err != nil {
		return nil, false, err
	}
	if first[0] == recordHandshake {
		return c, true, nil
	}
	open := wall.Until(p.Until) > 0
	if p.Seen != nil {
		p.Seen(raw.RemoteAddr(), open)
	}
	if !open {
		return nil, false, fmt.Errorf("security: %w: refused, permissive mode is over since %s", ErrPlaintext, p.Until.UTC().Format(time.RFC3339))
	}
	c.closeAt(p.Until)
	return c, false, nil
}

// sniffed gives back the byte that was looked at.
type sniffed struct {
	net.Conn
	r *bufio.Reader

	mu     sync.Mutex
	end    *time.Timer // nil for TLS
	closed bool
}

// NetConn is the connection whose beginning was read.
func (c *sniffed) NetConn() net.Conn { return c.Conn }

func (c *sniffed) Read(b []byte) (int, error) { return c.r.Read(b) }

// closeAt closes the connection then; its reader hears of it.
func (c *sniffed) closeAt(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.end = time.AfterFunc(wall.Until(at), func() {
		if wall.Until(at) > 0 {
			c.closeAt(at)
			return
		}
		_ = c.Conn.Close()
	})
}

func (c *sniffed) Close() error {
	c.mu.Lock()
	c.closed = true
	if c.end != nil {
		c.end.Stop()
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// maxSniffs bounds the connections whose first byte is awaited.
const maxSniffs = 1024

// PermissiveListener is Listener for a port that takes plaintext too, while p lasts. A
// plaintext connection is returned as it is, TLS as a *tls.Conn.
func (l *Live) PermissiveListener(inner net.Listener, cfg *tls.Config, p Permissive) net.Listener {
	if p.Until.IsZero() {
		return l.Listener(inner, cfg)
	}
	s := &sniffer{
		Listener: inner, live: l, cfg: cfg, p: p, out: make(chan net.Conn), stop: make(chan struct{}),
		slots: make(chan struct{}, maxSniffs), waiting: map[net.Conn]struct{}{},
	}
	s.wg.Go(s.run)
	return s
}

// sniffer looks at connections apart from each other: one that says nothing delays
// no other.
type sniffer struct {
	net.Listener
	live  *Live
	cfg   *tls.Config
	p     Permissive
	out   chan net.Conn
	stop  chan struct{}
	once  sync.Once
	slots chan struct{}
	wg    sync.WaitGroup

	mu      sync.Mutex
	err     error
	closed  bool
	waiting map[net.Conn]struct{}
}

func (s *sniffer) run() {
	for {
		raw, err := s.Listener.Accept()
		if err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			s.once.Do(func() { close(s.stop) })
			return
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.stop:
			_ = raw.Close() // nobody will serve it
			continue
		}
		s.mu.Lock()
		s.waiting[raw] = struct{}{}
		if s.closed {
			_ = raw.Close() // ends the wait below
		}
		s.mu.Unlock()
		s.wg.Go(func() { s.look(raw) })
	}
}

func (s *sniffer) look(raw net.Conn) {
	conn, secure, err := s.p.sniff(raw)
	s.mu.Lock()
	delete(s.waiting, raw)
	s.mu.Unlock()
	<-s.slots
	if err != nil {
		_ = raw.Close() // it is refused, or gone
		return
	}
	_ = raw.SetReadDeadline(time.Time{}) // net/http sets its own
	if secure {
		conn = s.live.Server(conn, s.cfg)
	}
	select {
	case s.out <- conn:
	case <-s.stop:
		_ = conn.Close() // nobody will serve it
	}
}

func (s *sniffer) Accept() (net.Conn, error) {
	select {
	case c := <-s.out:
		return c, nil
	case <-s.stop:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil {
			return nil, s.err
		}
		return nil, net.ErrClosed
	}
}

func (s *sniffer) Close() error {
	err := s.Listener.Close()
	s.once.Do(func() { close(s.stop) })
	s.mu.Lock()
	s.closed = true
	for c := range s.waiting {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

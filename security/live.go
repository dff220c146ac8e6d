package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// maxLiveEvery bounds how long a connection may outlive its right to be.
const maxLiveEvery = 5 * time.Second

// LiveConfig configures a Live. The zero value is a safe default.
type LiveConfig struct {
	// Every is the time between two looks at all open connections; a change that the
	// Source announces is looked at sooner. 0: 1 s; at most 5 s.
	Every time.Duration
	// Authorize is asked again about the callers of servers at each look. It should
	// be the servers' own. nil: only certificates and bundles are looked at.
	Authorize Authorizer
	// Closed hears why a connection was closed, and must not block. nil: nobody does.
	Closed func(*HandshakeError)
}

// Live is a Source that keeps open connections to what a handshake would say now.
// A connection is closed, and all calls and streams on it fail, when its peer's
// certificate expires, when the bundle of the peer's trust domain is gone or does not
// lead to it any more, or when LiveConfig.Authorize denies its caller.
//
// Give it to the functions of this package in place of the Source behind it.
// ClientCredentials, ServerCredentials and DialTLS then see their connections by
// themselves; an http.Server is served through Listener.
type Live struct {
	Source
	cfg  LiveConfig
	stop chan struct{}
	done chan struct{}
	once sync.Once

	mu    sync.Mutex
	conns map[*liveConn]struct{}
	seen  map[spiffeid.TrustDomain]*x509bundle.Bundle // at the last look
}

// NewLive starts looking after connections. The caller must Close it.
func NewLive(src Source, cfg LiveConfig) (*Live, error) {
	if src == nil {
		return nil, errors.New("security: NewLive needs a Source, got nil")
	}
	if cfg.Every < 0 || cfg.Every > maxLiveEvery {
		return nil, fmt.Errorf("security: LiveConfig.Every is %v, want 0 to %v", cfg.Every, maxLiveEvery)
	}
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	l := &Live{
		Source: src, cfg: cfg, stop: make(chan struct{}), done: make(chan struct{}),
		conns: map[*liveConn]struct{}{}, seen: map[spiffeid.TrustDomain]*x509bundle.Bundle{},
	}
	go l.run()
	return l, nil
}

// Close ends the looks. Connections stay as they are. It is idempotent and always
// returns nil.
func (l *Live) Close() error {
	l.once.Do(func() { close(l.stop) })
	<-l.done
	return nil
}

// Open is how many connections are looked after.
func (l *Live) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *Live) run() {
	defer close(l.done)
	tick := time.NewTicker(l.cfg.Every)
	defer tick.Stop()
	announces, _ := l.Source.(interface{ Changed() <-chan struct{} })
	for {
		var changed <-chan struct{}
		if announces != nil {
			changed = announces.Changed()
		}
		l.look()
		select {
		case <-l.stop:
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// look closes the connections that would not be accepted now.
func (l *Live) look() {
	now := time.Now()
	l.mu.Lock()
	conns := make([]*liveConn, 0, len(l.conns))
	domains := map[spiffeid.TrustDomain]bool{} // whether its bundle has changed
	for c := range l.conns {
		conns = append(conns, c)
		domains[c.peer.TrustDomain()] = false
	}
	for td := range l.seen {
		if _, used := domains[td]; !used {
			delete(l.seen, td)
		}
	}
	for td := range domains {
		b, _ := l.GetX509BundleForTrustDomain(td) // none is one too
		last, known := l.seen[td]
		domains[td] = !known || (b == nil) != (last == nil) || b != nil && !b.Equal(last)
		if b != nil {
			b = b.Clone() // the source may change its own
		}
		l.seen[td] = b
	}
	l.mu.Unlock()
	for _, c := range conns {
		var err error
		if domains[c.peer.TrustDomain()] || now.After(c.until) {
			// HandshakeComplete tells a second look from a handshake.
			err = c.verify(tls.ConnectionState{PeerCertificates: c.certs, HandshakeComplete: true})
		} else if c.server && l.cfg.Authorize != nil {
			if denied := l.cfg.Authorize(c.peer); denied != nil {
				err = c.denied(denied)
			}
		}
		if err == nil {
			continue
		}
		var he *HandshakeError
		errors.As(err, &he)
		l.cut(c, he)
	}
}

// liveConn is a connection beneath TLS that a Live looks after.
type liveConn struct {
	net.Conn
	live   *Live
	server bool
	// What the handshake saw; written before the connection is in live.conns.
	certs  []*x509.Certificate
	peer   PeerID
	until  time.Time // when the first of certs expires
	verify func(tls.ConnectionState) error
}

// tls binds a configuration that was made by this package to this one connection.
func (c *liveConn) tls(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		// First in the books, then verified: a change in between is not missed.
		id := c.enter(cs.PeerCertificates, verify)
		err := verify(cs)
		if err != nil && !id.IsZero() {
			c.leave()
		}
		return err
	}
	return cfg
}

func (c *liveConn) enter(certs []*x509.Certificate, verify func(tls.ConnectionState) error) (id spiffeid.ID) {
	if len(certs) == 0 {
		return id
	}
	id, err := idOf(certs[0])
	if err != nil {
		return spiffeid.ID{}
	}
	c.certs, c.peer, c.verify, c.until = certs, PeerID{id}, verify, certs[0].NotAfter
	for _, x := range certs[1:] {
		if x.NotAfter.Before(c.until) {
			c.until = x.NotAfter
		}
	}
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	c.live.conns[c] = struct{}{}
	return id
}

func (c *liveConn) leave() {
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	delete(c.live.conns, c)
}

// NetConn is the connection that is looked after.
func (c *liveConn) NetConn() net.Conn { return c.Conn }

// Close closes the connection and forgets it.
func (c *liveConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// Listener speaks TLS on what l accepts, as tls.NewListener does, and looks after it.
// Give it to http.Server.Serve; NextProtos of cfg must be what the server speaks.
func (l *Live) Listener(inner net.Listener, cfg *tls.Config) net.Listener {
	return &liveListener{inner, l, cfg}
}

type liveListener struct {
	net.Listener
	live *Live
	cfg  *tls.Config
}

func (l *liveListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.live.Server(raw, l.cfg), nil
}

// Server is tls.Server with a configuration of ServerTLS, and looks after the
// connection. If the handshake fails, close what NetConn of the result returns.
func (l *Live) Server(raw net.Conn, cfg *tls.Config) *tls.Conn {
	c := &liveConn{Conn: raw, live: l, server: true}
	return tls.Server(c, c.tls(cfg))
}

// Client is tls.Client with a configuration of ClientTLS; else it is as Server.
func (l *Live) Client(raw net.Conn, cfg *tls.Config) *tls.Conn {
	c := &liveConn{Conn: raw, live: l}
	return tls.Client(c, c.tls(cfg))
}

// serverConn is tls.Server, looked after if src does that.
func serverConn(src Source, raw net.Conn, cfg *tls.Config) *tls.Conn {
	if l, ok := src.(*Live); ok {
		return l.Server(raw, cfg)
	}
	return tls.Server(raw, cfg)
}

// clientConn is tls.Client, looked after if src does that.
func clientConn(src Source, raw net.Conn, cfg *tls.Config) *tls.Conn {
	if l, ok := src.(*Live); ok {
		return l.Client(raw, cfg)
	}
	return tls.Client(raw, cfg)
}

package balancer

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// Two identities at one address never share a connection, and a new identity
// gets a new one.
func TestHTTPIdentitiesDoNotShareConnections(t *testing.T) {
	t.Parallel()
	s := site(t, false, nil)
	config := trust(s)
	var mu sync.Mutex
	handshakes := map[string]int{}
	ep := func(instance, id string) resolver.Endpoint {
		return resolver.Endpoint{ID: resolver.ID{Instance: instance}, Addr: addrOf(s), SPIFFEID: id}
	}
	cat := shop(t, ep("1", "spiffe://td/a"), ep("2", "spiffe://td/b"))
	tr := newTransport(t, TransportConfig{Catalog: cat, TLS: func(e *resolver.Endpoint) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		handshakes[e.SPIFFEID]++
		return config(e)
	}})
	until := func(id string) {
		for n := 0; n == 0; {
			if _, _, err := get(t, tr); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			n = handshakes[id]
			mu.Unlock()
		}
	}
	until("spiffe://td/a")
	until("spiffe://td/b")
	set(t, cat, ep("1", "spiffe://td/a"), ep("2", "spiffe://td/c"))
	until("spiffe://td/c")
	for id, n := range handshakes {
		if n != 1 {
			t.Errorf("%d handshakes with %s, want 1", n, id)
		}
	}
}

// A peer that is gone without a word is found by HTTP/2 pings, so that a call
// that waits for it ends.
func TestHTTP2FindsDeadPeer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNet(t, "10.0.0.1:80")
		var frozen atomic.Bool
		tr := newTransport(t, TransportConfig{
			Catalog: shop(t, resolver.Endpoint{Addr: "10.0.0.1:80", Protocol: "http2"}), Plaintext: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := n.dial(ctx, network, addr)
				return &iceConn{Conn: c, frozen: &frozen, closed: make(chan struct{})}, err
			},
		})
		defer func() { _ = tr.Close(t.Context()) }()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://shop/slow", nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		frozen.Store(true)
		start := time.Now()
		_, err = io.ReadAll(resp.Body)
		if took := time.Since(start); err == nil || took > 14*time.Second {
			t.Errorf("the call ended with %v after %v, want an error within 14s", err, took)
		}
		_ = resp.Body.Close()
	})
}

// iceConn loses everything while it is frozen.
type iceConn struct {
	net.Conn
	frozen *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *iceConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if !c.frozen.Load() {
			return n, err
		}
		if err != nil {
			<-c.closed
			return 0, net.ErrClosed
		}
	}
}

func (c *iceConn) Write(p []byte) (int, error) {
	if c.frozen.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *iceConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

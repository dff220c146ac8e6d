package balancer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// site is a real HTTP server on loopback, TLS unless plain.
func site(t *testing.T, plain bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	if h == nil {
		h = func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		}
	}
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // tests break connections
	if plain {
		s.Start()
	} else {
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

func addrOf(s *httptest.Server) string { return s.Listener.Addr().String() }

// trust accepts the certificate of the sites.
func trust(s *httptest.Server) func(*resolver.Endpoint) (*tls.Config, error) {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return func(*resolver.Endpoint) (*tls.Config, error) {
		return &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS13}, nil
	}
}

// shop is a catalog with one service.
func shop(t *testing.T, eps ...resolver.Endpoint) *static.Catalog {
	t.Helper()
	c := static.New(static.Config{})
	set(t, c, eps...)
	return c
}

func set(t *testing.T, c *static.Catalog, eps ...resolver.Endpoint) {
	t.Helper()
	if err := c.Set("shop", eps...); err != nil {
		t.Fatal(err)
	}
}

func newTransport(t *testing.T, cfg TransportConfig) *Transport {
	t.Helper()
	if cfg.Balancer.Policy == nil {
		cfg.Balancer.Policy = RoundRobin{}
	}
	cfg.Balancer.SubsetSize = -1
	tr, err := NewTransport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = tr.Close(ctx) // what a test left open is broken
	})
	return tr
}

func get(t *testing.T, tr http.RoundTripper) (body string, resp *http.Response, err error) {
	t.Helper()
	return send(t, tr, "GET", "")
}

func send(t *testing.T, tr http.RoundTripper, method, in string) (body string, resp *http.Response, err error) {
	t.Helper()
	return sendCtx(t.Context(), t, tr, method, in)
}

func sendCtx(ctx context.Context, t *testing.T, tr http.RoundTripper, method, in string) (body string, resp *http.Response, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://shop/items", io.NopCloser(strings.NewReader(in)))
	if err != nil {
		t.Fatal(err)
	}
	if in == "" {
		req.Body = nil
	}
	resp, err = tr.RoundTrip(req)
	if err != nil {
		return "", nil, err
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return string(b), resp, err
}

// inFlight counts the attempts under way at all endpoints.
func inFlight(tr *Transport) (n int64) {
	for _, s := range tr.list() {
		s.eachPool(func(p *pool) { n += p.node.Load().InFlight() })
	}
	return n
}

// deadAddr is an address that refuses connections until the test ends.
func deadAddr(t *testing.T) string {
	t.Helper()
	addr, _ := heldAddr(t)
	return addr
}

// heldAddr is an address that refuses connections. Nobody else can listen on it before
// its release, for it is one end of an open connection.
func heldAddr(t *testing.T) (addr string, release func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	release = sync.OnceFunc(func() {
		for _, c := range []net.Conn{near, far} {
			_ = c.(*net.TCPConn).SetLinger(0) // or the port would be in use for a while
			_ = c.Close()
		}
	})
	t.Cleanup(release)
	return near.LocalAddr().String(), release
}

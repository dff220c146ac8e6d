package balancer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
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

// heldAddr is an address that refuses connections until listen is called. Nobody else can
// have it: the socket is bound from the beginning, and listens in the end.
func heldAddr(t *testing.T) (addr string, listen func() net.Listener) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "held")
	t.Cleanup(func() { _ = socket.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr = fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	return addr, func() net.Listener {
		t.Helper()
		if err := syscall.Listen(fd, 128); err != nil {
			t.Fatal(err)
		}
		l, err := net.FileListener(socket)
		_ = socket.Close() // l has a copy
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}

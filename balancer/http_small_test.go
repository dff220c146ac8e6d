package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/balancer/internal/http1"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// h1Site is a server that speaks HTTP/1.1 only and echoes, at addr if that is given.
func h1Site(t *testing.T, plain bool, addr string) *httptest.Server {
	t.Helper()
	return siteAt(t, plain, addr, false)
}

func siteAt(t *testing.T, plain bool, addr string, h2 bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(echoBody))
	s.EnableHTTP2 = h2
	if addr != "" {
		_ = s.Listener.Close()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s.Listener = l
	}
	if plain {
		s.Start()
	} else {
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

// toSite is a Transport to s alone.
func toSite(t *testing.T, s *httptest.Server, cfg TransportConfig) *Transport {
	t.Helper()
	cfg.Catalog = shop(t, resolver.Endpoint{Addr: addrOf(s)})
	if cfg.Plaintext = s.TLS == nil; !cfg.Plaintext {
		cfg.TLS = trust(s)
	}
	tr := newTransport(t, cfg)
	tr.fresh = 0 // tests are faster than networks
	return tr
}

// post posts a small text and reads it back; small: over a connection for that.
func post(ctx context.Context, t *testing.T, tr http.RoundTripper) (resp *http.Response, small bool, err error) {
	t.Helper()
	resp, err = tr.RoundTrip(readerPost(ctx, t, "all of it"))
	if err != nil {
		return nil, false, err
	}
	_, small = resp.Body.(*sent).ReadCloser.(*http1.Exchange)
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err == nil && string(b) != "all of it" {
		t.Errorf("the echo is %q", b)
	}
	return resp, small, err
}

// expect posts n times.
func expect(t *testing.T, tr http.RoundTripper, n int, small bool) {
	t.Helper()
	for range n {
		if resp, got, err := post(t.Context(), t, tr); err != nil || got != small {
			t.Fatalf("%v, %v, small %v", resp, err, got)
		}
	}
}

// poolOf is the pool of the only endpoint.
func poolOf(t *testing.T, tr *Transport) (one *pool) {
	t.Helper()
	for _, s := range tr.list() {
		s.eachPool(func(p *pool) { one = p })
	}
	if one == nil {
		t.Fatal("no pool")
	}
	return one
}

// open is how many connections the pool has.
func (p *pool) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// The first call finds out what an endpoint speaks; small calls after it share
// connections of their own, and others stay with http.Transport.
func TestHTTPSmall(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		s := h1Site(t, plain, "")
		tr := toSite(t, s, TransportConfig{})
		expect(t, tr, 1, false)
		expect(t, tr, 20, true)
		if n := poolOf(t, tr).open(); n != 2 {
			t.Errorf("%d connections, one for each kind are enough", n)
		}
		resp, _, err := post(t.Context(), t, tr)
		if err != nil || (resp.TLS == nil) != plain || resp.Request.URL.Host != "shop" {
			t.Errorf("%+v, %v", resp, err)
		}
		if body, _, err := send(t, tr, "POST", "any"); err != nil || body != "any" {
			t.Errorf("a body that can be had once: %q, %v", body, err)
		}
		traced := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{})
		if _, small, err := post(traced, t, tr); err != nil || small {
			t.Errorf("with a trace: small %v, %v", small, err)
		}
		if n := inFlight(tr); n != 0 {
			t.Errorf("%d in flight", n)
		}
	}
}

func TestHTTPSmallNotFor(t *testing.T) {
	t.Parallel()
	wrapped := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return struct{ net.Conn }{c}, err
	}
	for _, tt := range []struct {
		name string
		site *httptest.Server
		cfg  TransportConfig
	}{
		{"HTTP/2", siteAt(t, false, "", true), TransportConfig{}},
		{"a bound of connections", h1Site(t, false, ""), TransportConfig{MaxConnsPerEndpoint: 2}},
		{"a time for headers", h1Site(t, true, ""), TransportConfig{ResponseHeaderTimeout: time.Minute}},
		{"connections that are more than sockets", h1Site(t, true, ""), TransportConfig{DialContext: wrapped}},
	} {
		t.Run(tt.name, func(t *testing.T) { expect(t, toSite(t, tt.site, tt.cfg), 3, false) })
	}
}

// A server that was restarted, also with another protocol, costs no call.
func TestHTTPSmallRestart(t *testing.T) {
	t.Parallel()
	s := h1Site(t, false, "")
	tr := toSite(t, s, TransportConfig{})
	expect(t, tr, 1, false)
	expect(t, tr, 2, true)
	for _, h2 := range []bool{false, true, true, false} {
		s.Close()
		s = siteAt(t, false, addrOf(s), h2)
		major := 1
		if h2 {
			major = 2
		}
		tr.CloseIdleConnections() // those of http.Transport: a POST on them may be lost
		for range 3 {
			if resp, _, err := post(t.Context(), t, tr); err != nil || resp.ProtoMajor != major {
				t.Fatalf("%v, %v", resp, err)
			}
		}
	}
}

// Dead idle connections are seen before they are used, and what cannot be connected is
// not sent.
func TestHTTPSmallDead(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		s := h1Site(t, plain, "")
		tr := toSite(t, s, TransportConfig{})
		expect(t, tr, 1, false)
		expect(t, tr, 2, true)
		s.CloseClientConnections()
		expect(t, tr, 2, true)
		s.Close()
		if _, _, err := post(t.Context(), t, tr); !errors.Is(err, resilience.ErrUnsent) {
			t.Errorf("plain %v: %v", plain, err)
		}
		if p := poolOf(t, tr); p.node.State() != Failed {
			t.Errorf("the node is %v", p.node.State())
		}
	}
}

// Who closes connections beneath TLS, since their identity may not be used any more,
// ends those too that are idle.
func TestHTTPSmallCutBeneath(t *testing.T) {
	t.Parallel()
	s := h1Site(t, false, "")
	var mu sync.Mutex
	var conns []net.Conn
	tr := toSite(t, s, TransportConfig{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
		return c, err
	}})
	expect(t, tr, 1, false)
	expect(t, tr, 1, true)
	mu.Lock()
	for _, c := range conns {
		_ = c.Close()
	}
	n := len(conns)
	mu.Unlock()
	expect(t, tr, 2, true)
	if len(conns) != n+1 {
		t.Errorf("%d new connections", len(conns)-n)
	}
}

// A dial goes on without its call: an endpoint that swallows everything is found out
// even if no call waits for long enough.
func TestHTTPSmallDialOutlivesCall(t *testing.T) {
	t.Parallel()
	s := h1Site(t, true, "")
	ctx, cancel := context.WithCancel(t.Context())
	var deaf atomic.Bool
	swallow := make(chan struct{})
	tr := toSite(t, s, TransportConfig{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if deaf.Load() {
			cancel()
			<-swallow
			return nil, errors.New("no answer")
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	expect(t, tr, 1, false)
	expect(t, tr, 1, true)
	deaf.Store(true)
	tr.CloseIdleConnections()
	if _, _, err := post(ctx, t, tr); !errors.Is(err, context.Canceled) {
		t.Errorf("the call: %v", err)
	}
	p := poolOf(t, tr)
	if p.node.State() != Ready {
		t.Error("the call's own end counts against the endpoint")
	}
	close(swallow)
	for p.node.State() != Failed && t.Context().Err() == nil {
		runtime.Gosched()
	}
}

// The connections end with their pool: idle ones when it is closed or its endpoint has
// left, those in use when the Transport's time is up. Dials end too.
func TestHTTPSmallEnd(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"CloseIdleConnections", "the endpoint leaves", "Close"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			s := h1Site(t, false, "")
			cat := shop(t, resolver.Endpoint{Addr: addrOf(s)})
			tr := newTransport(t, TransportConfig{Catalog: cat, TLS: trust(s)})
			expect(t, tr, 1, false)
			expect(t, tr, 1, true)
			p := poolOf(t, tr)
			switch end {
			case "CloseIdleConnections":
				tr.CloseIdleConnections()
			case "the endpoint leaves":
				set(t, cat)
			case "Close":
				if err := tr.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			for p.open() > 0 && t.Context().Err() == nil {
				runtime.Gosched()
			}
		})
	}

	s := h1Site(t, true, "")
	var hang atomic.Bool
	dialing := make(chan struct{}, 1)
	tr := toSite(t, s, TransportConfig{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if hang.Load() {
			dialing <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	expect(t, tr, 1, false)
	resp, err := tr.RoundTrip(readerPost(t.Context(), t, strings.Repeat("x", 1<<10)))
	if err != nil {
		t.Fatal(err)
	}
	p := poolOf(t, tr)
	hang.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := post(t.Context(), t, tr); err == nil {
			t.Error("a call that was connecting came to an end")
		}
	})
	<-dialing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.Close(ctx); err == nil {
		t.Error("Close did not wait for the calls")
	}
	wg.Wait()
	if n := p.open(); n != 0 {
		t.Errorf("%d connections are open, one of them in use", n)
	}
	_ = resp.Body.Close()
}

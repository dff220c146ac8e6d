package balancer

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

func TestHTTPProtocols(t *testing.T) {
	t.Parallel()
	proto := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.Host+" "+r.URL.Path)
	}
	tests := []struct {
		name, protocol string
		plain          bool
		want           string
	}{
		{"unknown over TLS", "", false, "HTTP/2.0 shop /items"},
		{"http over TLS", "http", false, "HTTP/2.0 shop /items"},
		{"http2 over TLS", "http2", false, "HTTP/2.0 shop /items"},
		{"grpc over TLS", "grpc", false, "HTTP/2.0 shop /items"},
		{"http in plain", "http", true, "HTTP/1.1 shop /items"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := site(t, tt.plain, proto)
			cfg := TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: addrOf(s), Protocol: tt.protocol}), Plaintext: tt.plain}
			if !tt.plain {
				cfg.TLS = trust(s)
			}
			tr := newTransport(t, cfg)
			for range 3 {
				body, resp, err := get(t, tr)
				if err != nil {
					t.Fatal(err)
				}
				if body != tt.want {
					t.Errorf("the server saw %q, want %q", body, tt.want)
				}
				if resp.Request.URL.Host != "shop" {
					t.Errorf("the response is of %s, want the caller's request", resp.Request.URL)
				}
			}
		})
	}
}

func TestHTTP2InPlain(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})}
	srv.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	tr := newTransport(t, TransportConfig{Plaintext: true, Catalog: shop(t, resolver.Endpoint{Addr: l.Addr().String(), Protocol: "http2"})})
	if body, _, err := get(t, tr); err != nil || body != "HTTP/2.0" {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestHTTPNeverFallsBack(t *testing.T) {
	t.Parallel()
	s := site(t, true, nil) // speaks no TLS
	tr := newTransport(t, TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: addrOf(s)}), TLS: trust(site(t, false, nil)), WaitTimeout: time.Second})
	if body, _, err := get(t, tr); err == nil {
		t.Errorf("a plaintext server answered %q", body)
	}
}

func TestHTTPAttemptEndsWithBody(t *testing.T) {
	t.Parallel()
	s := site(t, true, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		if r.Method == "POST" {
			_, _ = io.Copy(w, r.Body)
		}
	})
	tr := newTransport(t, TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: addrOf(s)}), Plaintext: true})
	for _, end := range []struct {
		name string
		f    func(io.ReadCloser)
	}{
		{"close", func(b io.ReadCloser) { _ = b.Close() }},
		{"close twice", func(b io.ReadCloser) { _ = b.Close(); _ = b.Close() }},
		{"read to the end", func(b io.ReadCloser) { _, _ = io.ReadAll(b) }},
		{"read, then close", func(b io.ReadCloser) { _, _ = io.ReadAll(b); _ = b.Close() }},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://shop/", nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if n := inFlight(tr); n != 1 {
			t.Errorf("%s: %d in flight before the end, want 1", end.name, n)
		}
		end.f(resp.Body)
		if n := inFlight(tr); n != 0 {
			t.Errorf("%s: %d in flight after the end, want 0", end.name, n)
		}
	}
}

func TestHTTPWithoutBodyEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := site(t, true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	tr := newTransport(t, TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: addrOf(s)}), Plaintext: true})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://shop/", nil)
	if _, err := tr.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if n := inFlight(tr); n != 0 {
		t.Errorf("%d in flight, want 0", n)
	}
}

func TestHTTPUpgrade(t *testing.T) {
	t.Parallel()
	s := site(t, true, func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(c, line)
	})
	tr := newTransport(t, TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: addrOf(s)}), Plaintext: true})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://shop/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	rw, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("the body of a 101 is a %T and cannot be written", resp.Body)
	}
	if _, err := io.WriteString(rw, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(rw); err != nil || string(b) != "hello\n" {
		t.Errorf("got %q, %v", b, err)
	}
	if n := inFlight(tr); n != 1 {
		t.Errorf("%d in flight while the connection is open, want 1", n)
	}
	_ = rw.Close()
	if n := inFlight(tr); n != 0 {
		t.Errorf("%d in flight after Close, want 0", n)
	}
}

// One endpoint of ten refuses connections: no call may fail, and it must not
// draw traffic to itself by looking idle.
func TestHTTPBlackHole(t *testing.T) {
	t.Parallel()
	dead := deadAddr(t)
	eps := []resolver.Endpoint{{Addr: dead}}
	for range 9 {
		eps = append(eps, resolver.Endpoint{Addr: addrOf(site(t, true, nil))})
	}
	var dials atomic.Int64
	tr := newTransport(t, TransportConfig{
		Catalog: shop(t, eps...), Plaintext: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == dead {
				dials.Add(1)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	const callers, calls = 32, 60
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				if body, _, err := send(t, tr, "POST", "some text"); err != nil || body == dead {
					t.Errorf("got %q, %v", body, err)
				}
			}
		})
	}
	wg.Wait()
	// Each caller may run into it before the first failure is known; the rest are probes.
	if n := dials.Load(); n == 0 || n > callers+20 {
		t.Errorf("%d of %d calls tried the dead endpoint", n, callers*calls)
	}
}

func TestHTTPBodyIsClosed(t *testing.T) {
	t.Parallel()
	s := site(t, true, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for _, tt := range []struct {
		name string
		eps  []resolver.Endpoint
		url  string
		ok   bool
	}{
		{"sent", []resolver.Endpoint{{Addr: addrOf(s)}}, "http://shop/", true},
		{"refused", []resolver.Endpoint{{Addr: deadAddr(t)}}, "http://shop/", false},
		{"nowhere to go", nil, "http://shop/", false},
		{"bad URL", nil, "http://127.0.0.1/", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr := newTransport(t, TransportConfig{Catalog: shop(t, tt.eps...), Plaintext: true, WaitTimeout: 100 * time.Millisecond})
			body := &closeSpy{Reader: strings.NewReader("text"), closed: make(chan struct{})}
			req, _ := http.NewRequestWithContext(t.Context(), "POST", tt.url, body)
			resp, err := tr.RoundTrip(req)
			if (err == nil) != tt.ok {
				t.Fatalf("RoundTrip: %v", err)
			}
			if err == nil {
				_ = resp.Body.Close()
			}
			<-body.closed
			if n := body.times.Load(); n != 1 {
				t.Errorf("closed %d times", n)
			}
			if req.URL.String() != tt.url || req.Body != body || req.Host != strings.Split(tt.url, "/")[2] {
				t.Errorf("the request was changed: %v", req)
			}
		})
	}
}

type closeSpy struct {
	io.Reader
	times  atomic.Int32
	closed chan struct{}
}

func (c *closeSpy) Close() error {
	if c.times.Add(1) == 1 {
		close(c.closed)
	}
	return nil
}

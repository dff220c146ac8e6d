package mesh

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// TestConnectionAge (drill D18): over two hours of requests no connection of HTTP/1.1
// or HTTP/2 gets older than its bound and a tenth, and no request fails of it. The
// bound is below the life of the identity where that is short.
func TestConnectionAge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		h2    bool
		life  time.Duration
		bound time.Duration
	}{
		"HTTP/1.1":         {false, 72 * time.Hour, 30 * time.Minute},
		"HTTP/2":           {true, 72 * time.Hour, 30 * time.Minute},
		"short-lived SVID": {true, 2 * time.Hour, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ca := testpki.New(t, "a.example")
				svid := func(id string) *testpki.Source {
					return testpki.NewSource(ca.SVID(t, id, func(s *testpki.Spec) {
						s.Template.NotBefore, s.Template.NotAfter = time.Now(), time.Now().Add(tt.life)
					}), ca.Bundle())
				}
				const server = "spiffe://a.example/ns/default/dc/aws/svc/pay"
				live, err := security.NewLive(svid(server), security.LiveConfig{Every: 5 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				defer live.Close()
				r, err := resolve(Config{Service: "pay"}, func(string) string { return "" })
				if err != nil {
					t.Fatal(err)
				}
				m := &Mesh{cfg: r, log: r.Logger, identity: live}
				if got := m.connectionAge(); got != tt.bound {
					t.Errorf("bound %v, want %v", got, tt.bound)
				}
				cfg, err := security.HTTPServerTLS(live, nil)
				if err != nil {
					t.Fatal(err)
				}
				srv := &http.Server{TLSConfig: cfg, ReadHeaderTimeout: readHeaderTimeout, Handler: ageing{http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
				s, err := m.httpServer(srv)
				if err != nil {
					t.Fatal(err)
				}
				buf := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				var served sync.WaitGroup
				served.Go(func() { _ = s.serve(buf) }) // ends with cut
				var dialled []time.Time
				dial, err := security.DialTLS(svid("spiffe://a.example/web"), func(string) string { return server },
					func(context.Context, string, string) (net.Conn, error) {
						dialled = append(dialled, time.Now())
						return buf.dial()
					}, map[bool]string{false: "http/1.1", true: "h2"}[tt.h2])
				if err != nil {
					t.Fatal(err)
				}
				tr := &http.Transport{DialTLSContext: dial, ForceAttemptHTTP2: tt.h2, TLSClientConfig: &tls.Config{}}
				for range int(2*time.Hour/(20*time.Second)) - 1 {
					resp, err := (&http.Client{Transport: tr}).Get("https://x/")
					if err != nil {
						t.Fatalf("after %d connections: %v", len(dialled), err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					time.Sleep(20 * time.Second)
				}
				if len(dialled) < 3 {
					t.Errorf("%d connections in 2 h", len(dialled))
				}
				for i := 1; i < len(dialled); i++ {
					if age := dialled[i].Sub(dialled[i-1]); age > tt.bound*11/10+40*time.Second || age < tt.bound*9/10 {
						t.Errorf("connection %d lived %v, the bound is %v", i, age, tt.bound)
					}
				}
				tr.CloseIdleConnections()
				s.cut()
				served.Wait()
			})
		})
	}
}

// pipes is a network in memory. (bufconn's deadlines come late, which net/http takes ill.)
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

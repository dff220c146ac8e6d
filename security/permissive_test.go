package security_test

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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weft-mesh/weft/security"
)

// permissivePort serves HTTP in memory, in both ways.
func permissivePort(t *testing.T, l *security.Live, p security.Permissive) (dial func() net.Conn, end func()) {
	t.Helper()
	cfg := must[*tls.Config](t)(security.HTTPServerTLS(l, nil))
	srv := &http.Server{TLSConfig: cfg, ErrorLog: discardLog(), ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				<-r.Context().Done()
				return
			}
			id, ok := security.PeerFromRequest(r)
			if !ok {
				_, _ = io.WriteString(w, "nobody")
				return
			}
			_, _ = io.WriteString(w, id.String())
		})}
	buf := bufconn.Listen(1 << 16)
	lis := l.PermissiveListener(buf, cfg, p)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(lis) }) // ends with Close
	dial = func() net.Conn { return must[net.Conn](t)(buf.Dial()) }
	return dial, func() { _ = srv.Close(); wg.Wait() }
}

func ask(t *testing.T, conn net.Conn) (string, error) {
	t.Helper()
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }, MaxConnsPerHost: 1, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Get("http://x/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// TestPermissive: both kinds of callers on one port until the end date, and then TLS
// only; open plaintext connections end with it.
func TestPermissive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, err := security.NewLive(w.server, security.LiveConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var accepted, refused atomic.Int64
		dial, end := permissivePort(t, l, security.Permissive{Until: time.Now().Add(10 * time.Minute), Seen: func(_ net.Addr, ok bool) {
			if ok {
				accepted.Add(1)
			} else {
				refused.Add(1)
			}
		}})
		defer end()
		secure := func() (string, error) {
			cfg := must[*tls.Config](t)(security.HTTPClientTLS(w.client, serverID))
			cfg.NextProtos = []string{"http/1.1"}
			return ask(t, tls.Client(dial(), cfg))
		}
		silent := dial() // says nothing: must hold up nobody, and is closed
		if got, err := ask(t, dial()); err != nil || got != "nobody" {
			t.Errorf("plaintext: %q, %v", got, err)
		}
		if got, err := secure(); err != nil || got != clientID {
			t.Errorf("mTLS: %q, %v", got, err)
		}
		open := dial()
		if _, err := open.Write([]byte("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := silent.Read(make([]byte, 1)); err == nil {
			t.Error("a connection that says nothing stays open")
		}
		synctest.Wait()
		if a, r := accepted.Load(), refused.Load(); a != 2 || r != 0 {
			t.Errorf("%d accepted and %d refused, want 2 and 0", a, r)
		}
		began := time.Now() // five seconds after the start
		if b, err := io.ReadAll(open); len(b) > 0 || time.Since(began) != 10*time.Minute-5*time.Second {
			t.Errorf("an open plaintext connection ended after %v with %q, %v", time.Since(began), b, err)
		}
		time.Sleep(time.Second)
		if _, err := ask(t, dial()); err == nil {
			t.Error("plaintext is accepted after the end")
		}
		if got, err := secure(); err != nil || got != clientID {
			t.Errorf("mTLS after the end: %q, %v", got, err)
		}
		if a, r := accepted.Load(), refused.Load(); a != 2 || r != 1 {
			t.Errorf("%d accepted and %d refused, want 2 and 1", a, r)
		}
	})
}

// TestPermissiveGRPC is the same over gRPC, and that it is off by default.
func TestPermissiveGRPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tt := range map[string]struct {
		until time.Time
		ok    bool
	}{"off": {}, "on": {time.Now().Add(time.Hour), true}, "over": {time.Now().Add(-time.Second), false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			var known atomic.Int64
			see := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				if _, ok := security.PeerFromContext(ctx); ok {
					known.Add(1)
				}
				return h(ctx, req)
			}
			creds := security.PermissiveCredentials(security.ServerCredentials(w.server, nil), security.Permissive{Until: tt.until})
			addr := grpcServer(t, creds.Clone(), &calls, grpc.ChainUnaryInterceptor(see))
			if err := grpcCall(t, insecure.NewCredentials(), addr); (err == nil) != tt.ok {
				t.Errorf("plaintext: %v, want ok %v", err, tt.ok)
			}
			if known.Load() != 0 {
				t.Error("a plaintext caller has an identity")
			}
			if err := grpcCall(t, security.ClientCredentials(w.client, expectID(serverID)), addr); err != nil || known.Load() != 1 {
				t.Errorf("mTLS: %v, %d known", err, known.Load())
			}
		})
	}
}

package security_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// short-lived SVIDs, as the drill rotates them every 5 s.
func brief(s *testpki.Spec) {
	s.Template.NotBefore, s.Template.NotAfter = time.Now().Add(-time.Second), time.Now().Add(time.Minute)
}

// load calls over one long-lived gRPC channel and over new HTTP connections, in
// memory, until stop. It counts.
type load struct {
	calls, failed, dials atomic.Int64
	end                  func()
	port                 func() net.Conn // of the gRPC server
}

func startLoad(t *testing.T, client, server security.Source) *load {
	t.Helper()
	l := &load{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	gbuf, hbuf := bufconn.Listen(1<<18), bufconn.Listen(1<<18)
	l.port = func() net.Conn { return must[net.Conn](t)(gbuf.Dial()) }
	gsrv := grpc.NewServer(grpc.Creds(security.ServerCredentials(server, nil)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 20 * time.Second, MaxConnectionAgeGrace: 5 * time.Second}))
	healthpb.RegisterHealthServer(gsrv, health.NewServer())
	wg.Go(func() { _ = gsrv.Serve(gbuf) }) // ends with Stop
	hsrv := &http.Server{TLSConfig: must[*tls.Config](t)(security.HTTPServerTLS(server, nil)), ErrorLog: discardLog(), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	wg.Go(func() { _ = hsrv.ServeTLS(hbuf, "", "") }) // ends with Close
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(security.ClientCredentials(client, expectID(serverID))),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { l.dials.Add(1); return gbuf.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	dial := must[security.DialFunc](t)(security.DialTLS(client, func(string) string { return serverID },
		func(context.Context, string, string) (net.Conn, error) { return hbuf.Dial() }, "http/1.1"))
	web := &http.Client{Transport: &http.Transport{DialTLSContext: dial, DisableKeepAlives: true}}
	drive := func(every time.Duration, call func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := call(); err != nil && ctx.Err() == nil {
					l.failed.Add(1)
					t.Error(err)
				}
				l.calls.Add(1)
				time.Sleep(every)
			}
		})
	}
	drive(2*time.Second, func() error {
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		return err
	})
	drive(5*time.Second, func() error { // each is a handshake
		resp, err := web.Get("https://x/")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			err = errors.Join(err, resp.Body.Close())
		}
		return err
	})
	l.end = func() {
		cancel()
		_ = conn.Close()
		gsrv.Stop()
		_ = hsrv.Close()
		wg.Wait()
	}
	return l
}

// TestRotations (drills D14 and D16): 100 SVIDs and then 100 CAs come and go under
// load without a failed call; whoever is left with a revoked CA is cut and refused.
func TestRotations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		closed := atomic.Int64{}
		cfg := security.LiveConfig{Closed: func(e *security.HandshakeError) { closed.Add(1); t.Logf("closed: %v", e) }}
		cl, err := security.NewLive(w.client, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		sl, err := security.NewLive(w.server, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer sl.Close()
		rotate := func(ca *testpki.CA) {
			w.server.SetSVID(ca.SVID(t, serverID, brief))
			w.client.SetSVID(ca.SVID(t, clientID, brief))
		}
		rotate(w.a)
		l := startLoad(t, cl, sl)
		for range 100 {
			time.Sleep(5 * time.Second)
			rotate(w.a)
		}
		t.Logf("100 SVIDs: %d calls, %d failed, %d connections, %d cut", l.calls.Load(), l.failed.Load(), l.dials.Load(), closed.Load())
		old := w.a
		for range 100 {
			next := testpki.New(t, tdA)
			both := x509bundle.FromX509Authorities(old.TrustDomain, append(old.Bundle().X509Authorities(), next.Cert))
			w.client.SetBundle(old.TrustDomain, both) // prepare
			w.server.SetBundle(old.TrustDomain, both)
			time.Sleep(5 * time.Second)
			rotate(next) // activate; connections of before reach their age
			time.Sleep(28 * time.Second)
			w.client.SetBundle(old.TrustDomain, next.Bundle()) // taint and revoke
			w.server.SetBundle(old.TrustDomain, next.Bundle())
			old = next
		}
		t.Logf("and 100 CAs: %d calls, %d failed, %d connections, %d cut", l.calls.Load(), l.failed.Load(), l.dials.Load(), closed.Load())
		if l.failed.Load() > 0 || closed.Load() > 0 || l.calls.Load() < 2000 {
			t.Errorf("%d of %d calls failed, %d connections were cut", l.failed.Load(), l.calls.Load(), closed.Load())
		}
		// One that was not renewed, and holds a connection.
		stale := testpki.NewSource(old.SVID(t, clientID), old.Bundle())
		next := testpki.New(t, tdA)
		stale.SetBundle(old.TrustDomain, x509bundle.FromX509Authorities(old.TrustDomain, []*x509Certificate{old.Cert, next.Cert}))
		conn := tls.Client(l.port(), staleConfig(t, stale))
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the server has verified it too
		if sl.Open() == 0 {
			t.Error("the server does not look after the connection")
		}
		w.server.SetBundle(old.TrustDomain, next.Bundle())
		w.client.SetBundle(old.TrustDomain, next.Bundle())
		rotate(next)
		l.end() // its connections, opened by the last CA, are cut too
		time.Sleep(5 * time.Second)
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Logf("its connection ended with %v", err)
		}
		_ = conn.Close()
		if sl.Open() != 0 {
			t.Errorf("%d connections of the revoked CA are open", sl.Open())
		}
		if cerr, serr := shake(t, stale, sl, nil); cerr == nil || !errors.Is(serr, security.ErrUntrusted) {
			t.Errorf("with a revoked CA: %v, %v", cerr, serr)
		}
	})
}

func staleConfig(t *testing.T, src security.Source) *tls.Config {
	cfg := must[*tls.Config](t)(security.ClientTLS(src, serverID))
	cfg.NextProtos = []string{"h2"}
	return cfg
}

// TestClockSkew (drill D19): what a clock makes invalid is refused, with a text by
// which one finds the clock.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		skew time.Duration // of the issuer
		want []string
	}{
		"issuer 5 min ahead":   {5*time.Minute + time.Minute, []string{"becomes valid in 5m0s", "compare the clocks of both machines"}},
		"issuer 2 h behind":    {-2 * time.Hour, []string{"expired since 1h0m0s", "does not renew it"}},
		"issuer 65 min behind": {-65 * time.Minute, []string{"expired since 5m0s", "compare the clocks of both machines"}},
		"issuer 1 min ahead":   {time.Minute, nil},
		"issuer 5 min behind":  {-5 * time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var nb, na time.Time
				w.client.SetSVID(w.a.SVID(t, clientID, func(s *testpki.Spec) {
					s.Template.NotBefore = s.Template.NotBefore.Add(tt.skew)
					s.Template.NotAfter = s.Template.NotAfter.Add(tt.skew)
					nb, na = s.Template.NotBefore, s.Template.NotAfter
				}))
				// The client's own clock is the issuer's: it would present it.
				svid := must[*svid](t)(w.client.GetX509SVID())
				cfg := attackerConfig(svid)
				a, b := netPipe(t)
				_, serr := both(func() error {
					defer a.Close()
					conn := tls.Client(a, cfg)
					_, err := conn.Read(make([]byte, 1))
					return err
				}, func() error {
					defer b.Close()
					return tls.Server(b, must[*tls.Config](t)(security.ServerTLS(w.server, nil))).Handshake()
				})
				if len(tt.want) == 0 {
					if serr != nil {
						t.Errorf("refused: %v", serr)
					}
					return
				}
				if !errors.Is(serr, security.ErrExpired) {
					t.Fatalf("%v, want ErrExpired", serr)
				}
				form := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
				a, b = netPipe(t)
				cerr, _ := both(func() error { // and so it is with a server's
					defer a.Close()
					return tls.Client(a, must[*tls.Config](t)(security.ClientTLS(w.server, clientID))).Handshake()
				}, func() error {
					defer b.Close()
					return tls.Server(b, attackerServer(svid)).Handshake()
				})
				if cerr == nil || !errors.Is(cerr, security.ErrExpired) {
					t.Fatalf("as a server: %v, want ErrExpired", cerr)
				}
				for _, want := range append(tt.want, "local time "+form(time.Now()), "valid from "+form(nb)+" to "+form(na)) {
					for _, err := range []error{serr, cerr} {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("text %q lacks %q", err, want)
						}
					}
				}
			})
		})
	}
}

// attackerConfig presents what it has, valid or not.
func attackerConfig(s *svid) *tls.Config {
	cert := tls.Certificate{PrivateKey: s.PrivateKey}
	for _, c := range s.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }}
}

func attackerServer(s *svid) *tls.Config {
	cert := tls.Certificate{PrivateKey: s.PrivateKey}
	for _, c := range s.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
}

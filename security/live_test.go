package security_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

func live(t *testing.T, src security.Source, cfg security.LiveConfig) *security.Live {
	t.Helper()
	l, err := security.NewLive(src, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// held is a connection with both ends open, one of them looked after.
func held(t *testing.T, client, server security.Source) (c, s *tls.Conn) {
	t.Helper()
	a, b := netPipe(t)
	end := func(src security.Source, raw net.Conn, cfg *tls.Config, make func(*security.Live) func(net.Conn, *tls.Config) *tls.Conn, plain func(net.Conn, *tls.Config) *tls.Conn) *tls.Conn {
		if l, ok := src.(*security.Live); ok {
			return make(l)(raw, cfg)
		}
		return plain(raw, cfg)
	}
	c = end(client, a, must[*tls.Config](t)(security.ClientTLS(client, serverID)), func(l *security.Live) func(net.Conn, *tls.Config) *tls.Conn { return l.Client }, tls.Client)
	s = end(server, b, must[*tls.Config](t)(security.ServerTLS(server, security.AuthorizeIDs(idOf(t, clientID), idOf(t, "spiffe://b.example/web")))),
		func(l *security.Live) func(net.Conn, *tls.Config) *tls.Conn { return l.Server }, tls.Server)
	if cerr, serr := both(c.Handshake, s.Handshake); cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	return c, s
}

// TestLive (drills D15, D17): what ends a connection ends it within 5 s, on either
// side, and nothing else does.
func TestLive(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(t *testing.T, w *world, denied *atomic.Bool)
		ends   bool
		want   error
	}{
		"nothing":                 {func(*testing.T, *world, *atomic.Bool) {}, false, nil},
		"another bundle is gone":  {func(_ *testing.T, w *world, _ *atomic.Bool) { setBundles(w, w.b, nil) }, false, nil},
		"the bundle is gone":      {func(_ *testing.T, w *world, _ *atomic.Bool) { setBundles(w, w.a, nil) }, true, security.ErrUnknownTrustDomain},
		"the bundle is empty":     {func(_ *testing.T, w *world, _ *atomic.Bool) { setBundles(w, w.a, testpki.New(t, "b.example")) }, true, security.ErrUnknownTrustDomain},
		"the CA is another":       {func(t *testing.T, w *world, _ *atomic.Bool) { setBundles(w, w.a, testpki.New(t, tdA)) }, true, security.ErrUntrusted},
		"the caller is denied":    {func(_ *testing.T, _ *world, denied *atomic.Bool) { denied.Store(true) }, true, security.ErrDenied},
		"the certificates expire": {func(*testing.T, *world, *atomic.Bool) { time.Sleep(time.Hour) }, true, security.ErrExpired},
		"the SVIDs were rotated": {func(t *testing.T, w *world, _ *atomic.Bool) {
			w.client.SetSVID(w.a.SVID(t, clientID))
			w.server.SetSVID(w.a.SVID(t, serverID))
		}, false, nil},
		"the CA is joined by next": {func(t *testing.T, w *world, _ *atomic.Bool) { setBundles(w, w.a, w.a, testpki.New(t, tdA)) }, false, nil},
	} {
		for _, side := range []string{"client", "server"} {
			if side == "client" && errors.Is(tt.want, security.ErrDenied) {
				continue // a client asks nobody
			}
			t.Run(name+"/"+side, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					var denied atomic.Bool
					var mu sync.Mutex
					var reasons []*security.HandshakeError
					cfg := security.LiveConfig{
						Authorize: func(security.PeerID) error {
							if denied.Load() {
								return errors.New("not any more")
							}
							return nil
						},
						Closed: func(e *security.HandshakeError) { mu.Lock(); defer mu.Unlock(); reasons = append(reasons, e) },
					}
					var client, server security.Source = w.client, w.server
					var l *security.Live
					if side == "client" {
						l = live(t, client, cfg)
						client = l
					} else {
						l = live(t, server, cfg)
						server = l
					}
					c, s := held(t, client, server)
					defer c.Close()
					defer s.Close()
					if l.Open() != 1 {
						t.Fatalf("%d connections are looked after, want 1", l.Open())
					}
					time.Sleep(10 * time.Second)
					tt.change(t, w, &denied)
					time.Sleep(5 * time.Second)
					synctest.Wait()
					mu.Lock()
					defer mu.Unlock()
					if open := l.Open() == 1; open == tt.ends {
						t.Errorf("open %v after 5 s, reasons %v", open, reasons)
					}
					if !tt.ends {
						if len(reasons) > 0 {
							t.Errorf("closed: %v", reasons)
						}
						return
					}
					if len(reasons) != 1 || !errors.Is(reasons[0], tt.want) {
						t.Errorf("reasons %v, want one that is %v", reasons, tt.want)
					}
					other := c
					if side == "client" {
						other = s
					}
					if _, err := other.Read(make([]byte, 1)); err == nil {
						t.Error("the other end hears nothing")
					}
					_ = l.Close()
				})
			})
		}
	}
}

// setBundles replaces what both sides hold for of's trust domain.
func setBundles(w *world, of *testpki.CA, to ...*testpki.CA) {
	for _, src := range []*testpki.Source{w.client, w.server} {
		if to[0] == nil {
			src.SetBundle(of.TrustDomain, nil)
			continue
		}
		b := to[0].Bundle()
		for _, ca := range to[1:] {
			b.AddX509Authority(ca.Cert)
		}
		src.SetBundle(of.TrustDomain, b)
	}
}

// TestLiveForgets: refused and ended connections are not kept.
func TestLiveForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cl, sl := live(t, w.client, security.LiveConfig{}), live(t, w.server, security.LiveConfig{})
	for range 3 {
		w.client.SetSVID(w.a.SVID(t, clientID))
		c, s := held(t, cl, sl)
		if cl.Open() != 1 || sl.Open() != 1 {
			t.Errorf("%d and %d are looked after, want 1 and 1", cl.Open(), sl.Open())
		}
		_ = c.Close()
		_ = s.Close()
		for _, bad := range []string{"spiffe://a.example/else", "spiffe://unknown.example/x"} {
			w.client.SetSVID(w.a.SVID(t, bad))
			var calls atomic.Int64
			addr := grpcServer(t, security.ServerCredentials(sl, security.AuthorizeIDs(idOf(t, clientID))), &calls)
			if err := grpcCall(t, security.ClientCredentials(cl, expectID(serverID)), addr); err == nil {
				t.Errorf("%s was let in", bad)
			}
		}
		if _, err := security.NewLive(nil, security.LiveConfig{}); err == nil {
			t.Error("a Live without a Source")
		}
	}
	for deadline := time.Now().Add(30 * time.Second); cl.Open()+sl.Open() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d connections are still looked after", cl.Open(), sl.Open())
		}
	}
}

// TestStreamsEndWithTheirTrust (drill D17): the streams of a federated domain whose
// bundle is removed end within 5 s, on gRPC and HTTP, those of our own go on.
func TestStreamsEndWithTheirTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const foreign = "spiffe://b.example/web"
	theirs := testpki.NewSource(w.b.SVID(t, foreign), w.a.Bundle(), w.b.Bundle())
	sl := live(t, w.server, security.LiveConfig{})
	authorize := security.AuthorizeIDs(idOf(t, clientID), idOf(t, foreign))
	gaddr := healthServer(t, security.ServerCredentials(sl, authorize))
	haddr := streamServer(t, sl, must[*tls.Config](t)(security.HTTPServerTLS(sl, authorize)))
	type stream struct {
		name  string
		local bool
		recv  func() error
	}
	var streams []stream
	for _, src := range []*testpki.Source{w.client, theirs} {
		local := src == w.client
		conn, err := grpc.NewClient("passthrough:///"+gaddr, grpc.WithTransportCredentials(security.ClientCredentials(src, expectID(serverID))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		gs, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream{"grpc", local, func() error { _, err := gs.Recv(); return err }})
		for _, h2 := range []bool{false, true} {
			body := openStream(t, must[*tls.Config](t)(security.HTTPClientTLS(src, serverID)), haddr, h2)
			streams = append(streams, stream{map[bool]string{false: "http1", true: "http2"}[h2], local, func() error { _, err := io.ReadFull(body, make([]byte, 1)); return err }})
		}
	}
	ended := make(chan stream, len(streams))
	var readers sync.WaitGroup
	t.Cleanup(readers.Wait) // after the connections' own, which end them
	for _, s := range streams {
		if err := s.recv(); err != nil { // the first message: it is open
			t.Fatal(s.name, err)
		}
		readers.Go(func() {
			for s.recv() == nil {
			}
			ended <- s
		})
	}
	w.server.SetBundle(w.b.TrustDomain, nil)
	removed := time.Now()
	for range 3 {
		s := <-ended
		if s.local {
			t.Errorf("the %s stream of our own domain ended", s.name)
		}
		t.Logf("%s ended after %v", s.name, time.Since(removed))
	}
	if took := time.Since(removed); took > 5*time.Second {
		t.Errorf("the last one ended after %v", took)
	}
	select {
	case s := <-ended:
		t.Errorf("the %s stream of our own domain ended", s.name)
	default:
	}
}

// healthServer serves gRPC; its watch sends one message and stays open.
func healthServer(t *testing.T, creds credentials.TransportCredentials) string {
	t.Helper()
	srv := grpc.NewServer(grpc.Creds(creds))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	lis := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(lis) }) // ends with Stop
	t.Cleanup(func() { srv.Stop(); wg.Wait() })
	return lis.Addr().String()
}

// streamServer sends one byte and holds the response open.
func streamServer(t *testing.T, l *security.Live, cfg *tls.Config) string {
	t.Helper()
	srv := &http.Server{TLSConfig: cfg, ErrorLog: discardLog(), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte{1})
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})}
	lis := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l.Listener(lis, cfg)) }) // ends with Close
	t.Cleanup(func() { _ = srv.Close(); wg.Wait() })
	return lis.Addr().String()
}

func openStream(t *testing.T, cfg *tls.Config, addr string, h2 bool) io.Reader {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: cfg, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetHTTP2(h2)
	if cfg.NextProtos = []string{"http/1.1"}; h2 {
		cfg.NextProtos = []string{"h2"}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close(); tr.CloseIdleConnections() })
	return resp.Body
}

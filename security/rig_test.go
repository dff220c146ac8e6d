package security_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

const (
	tdA      = "a.example"
	clientID = "spiffe://a.example/ns/default/dc/aws/svc/web"
	serverID = "spiffe://a.example/ns/default/dc/aws/svc/payments"
)

// pair is a good client and a good server of one trust domain.
type pair struct {
	ca             *testpki.CA
	client, server *testpki.Source
}

func newPair(t testing.TB) *pair {
	t.Helper()
	ca := testpki.New(t, tdA)
	return &pair{
		ca:     ca,
		client: testpki.NewSource(ca.SVID(t, clientID), ca.Bundle()),
		server: testpki.NewSource(ca.SVID(t, serverID), ca.Bundle()),
	}
}

type tlsConfig = tls.Config

// rejections collects what servers refused.
type rejections struct {
	mu   sync.Mutex
	errs []*security.HandshakeError
}

func (r *rejections) add(e *security.HandshakeError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, e)
}

func (r *rejections) all() []*security.HandshakeError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*security.HandshakeError(nil), r.errs...)
}

// grpcServer serves the health service; calls counts what reached a handler.
func grpcServer(t testing.TB, creds credentials.TransportCredentials, calls *atomic.Int64, opts ...grpc.ServerOption) string {
	t.Helper()
	count := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		calls.Add(1)
		return h(ctx, req)
	}
	srv := grpc.NewServer(append([]grpc.ServerOption{grpc.Creds(creds), grpc.ChainUnaryInterceptor(count)}, opts...)...)
	healthpb.RegisterHealthServer(srv, health.NewServer())
	lis := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(lis) }) // ends with Stop
	t.Cleanup(func() { srv.Stop(); wg.Wait() })
	return lis.Addr().String()
}

// grpcCall makes one call on a new connection.
func grpcCall(t testing.TB, creds credentials.TransportCredentials, addr string, opts ...grpc.DialOption) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, append(opts, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	return err
}

// expectID is for channels whose addresses all have one identity.
func expectID(id string) func(*attributes.Attributes) string {
	return func(*attributes.Attributes) string { return id }
}

// httpServer serves 200; calls counts what reached the handler.
func httpServer(t testing.TB, cfg *tls.Config, calls *atomic.Int64, handler http.HandlerFunc) string {
	t.Helper()
	srv := &http.Server{
		TLSConfig: cfg, ErrorLog: discardLog(), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			if handler != nil {
				handler(w, r)
			}
		}),
	}
	lis := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.ServeTLS(lis, "", "") }) // ends with Close
	t.Cleanup(func() { _ = srv.Close(); wg.Wait() })
	return lis.Addr().String()
}

// httpCall makes one request on a new connection, by HTTP/2 or 1.1.
func httpCall(t testing.TB, cfg *tls.Config, addr string, h2 bool) (*http.Response, error) {
	t.Helper()
	cfg = cfg.Clone()
	tr := &http.Transport{TLSClientConfig: cfg, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetHTTP2(h2)
	cfg.NextProtos = []string{"http/1.1"}
	if h2 {
		cfg.NextProtos = []string{"h2"}
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		err = errors.Join(err, resp.Body.Close())
	}
	return resp, err
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// plainServer is an HTTP server without TLS.
func plainServer(t testing.TB, calls *atomic.Int64) string {
	t.Helper()
	srv := &http.Server{ReadHeaderTimeout: 100 * time.Millisecond, ErrorLog: discardLog(),
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) })}
	lis := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(lis) }) // ends with Close
	t.Cleanup(func() { _ = srv.Close(); wg.Wait() })
	return lis.Addr().String()
}

// plainGet makes a request without TLS; Go's servers answer it with 400.
func plainGet(t testing.TB, addr string) error {
	t.Helper()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // only the status counts
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

type x509Certificate = x509.Certificate

type svid = x509svid.SVID

// netPipe is a connection in memory with room for what is not read yet: on a
// net.Pipe two ends that both send an alert would wait for each other.
func netPipe(t testing.TB) (client, server net.Conn) {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	var wg sync.WaitGroup
	var serr error
	wg.Go(func() { server, serr = lis.Accept() })
	client, err := lis.Dial()
	wg.Wait()
	if err := errors.Join(err, serr); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func idOf(t testing.TB, id string) spiffeid.ID {
	t.Helper()
	return must[spiffeid.ID](t)(spiffeid.FromString(id))
}

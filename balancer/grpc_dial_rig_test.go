package balancer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weft-mesh/weft/internal/testpki"
)

// slowHost is a gRPC server over TLS that takes its time in each phase of a connection,
// and the dialer of those who call it.
type slowHost struct {
	dial, tls, settings atomic.Int64 // nanoseconds

	lis  *bufconn.Listener
	srv  *backend
	pki  tls.Certificate
	over chan struct{}

	mu       sync.Mutex
	attempts []time.Time // when each began
	given    []time.Duration
}

func newSlowHost(t *testing.T) *slowHost {
	t.Helper()
	svid := testpki.New(t, "td").SVID(t, "spiffe://td/slow")
	h := &slowHost{lis: bufconn.Listen(1 << 16), over: make(chan struct{})}
	h.pki = tls.Certificate{Certificate: [][]byte{svid.Certificates[0].Raw}, PrivateKey: svid.PrivateKey}
	creds := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{h.pki}, MinVersion: tls.VersionTLS13})
	h.srv = startBackendOn(t, h.lis, nil, nil, grpc.Creds(slowCreds{creds, h}))
	t.Cleanup(func() { close(h.over) })
	return h
}

func (h *slowHost) wait(d *atomic.Int64) {
	select {
	case <-time.After(time.Duration(d.Load())):
	case <-h.over:
	}
}

// connect is for grpc.WithContextDialer.
func (h *slowHost) connect(ctx context.Context, _ string) (net.Conn, error) {
	h.mu.Lock()
	h.attempts = append(h.attempts, time.Now())
	h.mu.Unlock()
	began := time.Now()
	select {
	case <-time.After(time.Duration(h.dial.Load())):
		return h.lis.DialContext(ctx)
	case <-ctx.Done():
		h.mu.Lock()
		h.given = append(h.given, time.Since(began))
		h.mu.Unlock()
		return nil, ctx.Err()
	}
}

type slowCreds struct {
	credentials.TransportCredentials
	h *slowHost
}

func (s slowCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s.h.wait(&s.h.tls)
	conn, info, err := s.TransportCredentials.ServerHandshake(raw)
	if err == nil {
		s.h.wait(&s.h.settings)
	}
	return conn, info, err
}

func (s slowCreds) Clone() credentials.TransportCredentials {
	return slowCreds{s.TransportCredentials.Clone(), s.h}
}

var (
	anyPeer = grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}))
	steady  = backoff.Config{BaseDelay: time.Second, Multiplier: 2, MaxDelay: 8 * time.Second}
)

// oneLane is a state of one endpoint in one lane.
func oneLane(cfg *Config, timeout time.Duration) grpcresolver.State {
	s := endpoints("10.0.0.1:1")
	AttachLanes(&s, []Lane{{Config: cfg, ConnectTimeout: timeout}})
	return s
}

func bounded(t *testing.T, cfg DialConfig, opts ...grpc.DialOption) []grpc.DialOption {
	t.Helper()
	all, err := DialOptions(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// bundle and secret are other ways to give credentials.
type bundle struct{}

func (bundle) TransportCredentials() credentials.TransportCredentials { return credentials.NewTLS(nil) }

func (bundle) PerRPCCredentials() credentials.PerRPCCredentials { return nil }

func (bundle) NewWithMode(string) (credentials.Bundle, error) { return bundle{}, nil }

type secret struct{}

func (secret) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return nil, nil
}

func (secret) RequireTransportSecurity() bool { return true }

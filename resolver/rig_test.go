package resolver_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weft-mesh/weft/resolver"
)

// network is a few gRPC servers in memory, by address.
type network struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	dials     atomic.Int64
}

// hello answers every health check and counts.
type hello struct {
	healthpb.UnimplementedHealthServer
	calls     atomic.Int64
	authority atomic.Value
}

func (h *hello) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	h.calls.Add(1)
	md, _ := metadata.FromIncomingContext(ctx)
	if a := md.Get(":authority"); len(a) > 0 {
		h.authority.Store(a[0])
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

// serve starts a server at addr until the test ends.
func (n *network) serve(t *testing.T, addr string) *hello {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	n.mu.Lock()
	if n.listeners == nil {
		n.listeners = map[string]*bufconn.Listener{}
	}
	n.listeners[addr] = l
	n.mu.Unlock()
	h, srv := &hello{}, grpc.NewServer()
	healthpb.RegisterHealthServer(srv, h)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return h
}

func (n *network) dialer(ctx context.Context, addr string) (net.Conn, error) {
	n.dials.Add(1)
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused by " + addr)
	}
	return l.DialContext(ctx)
}

// dial makes a channel over the network.
func (n *network) dial(t *testing.T, target string, b *resolver.Builder, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithResolvers(b),
		grpc.WithContextDialer(n.dialer),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
	}, opts...)
	cc, err := grpc.NewClient(target, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func check(ctx context.Context, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
	_, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}, opts...)
	return err
}

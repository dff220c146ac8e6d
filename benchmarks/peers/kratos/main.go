// Kratos is go-kratos: its gRPC transport with mutual TLS, its discovery, the p2c
// selector, the circuit breaker and recovery.
package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware/circuitbreaker"
	"github.com/go-kratos/kratos/v2/middleware/recovery"
	"github.com/go-kratos/kratos/v2/registry"
	"github.com/go-kratos/kratos/v2/selector"
	"github.com/go-kratos/kratos/v2/selector/p2c"
	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
)

func main() {
	contest.Peer(contest.Contender{Name: "kratos", Serve: serve, Dial: dial,
		About: "Kratos v2.8.3: gRPC transport with mutual TLS, discovery, p2c selector, circuit breaker, recovery; no telemetry"})
}

func serve(ctx context.Context, dir string) (*contest.Server, error) {
	id, cfg, err := identity.OpenTLS(dir, "echo", true)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	log.SetLogger(log.NewStdLogger(os.Stderr))
	log.SetLogger(log.NewFilter(log.GetLogger(), log.FilterLevel(log.LevelError)))
	srv := kgrpc.NewServer(kgrpc.Listener(l), kgrpc.TLSConfig(cfg), kgrpc.Middleware(recovery.Recovery()))
	grpc_testing.RegisterTestServiceServer(srv, contest.Echo{})
	served := make(chan error, 1)
	go func() { served <- srv.Start(ctx) }()
	return &contest.Server{Addr: l.Addr().String(), Close: func() error {
		id.Close()
		return errors.Join(srv.Stop(ctx), <-served)
	}}, nil
}

func dial(ctx context.Context, dir, addr string) (*contest.Client, error) {
	id, cfg, err := identity.OpenTLS(dir, "client", false)
	if err != nil {
		return nil, err
	}
	selector.SetGlobalSelector(p2c.NewBuilder())
	conn, err := kgrpc.Dial(ctx,
		kgrpc.WithEndpoint("discovery:///echo"), kgrpc.WithDiscovery(only(addr)), kgrpc.WithPrintDiscoveryDebugLog(false),
		kgrpc.WithTLSConfig(cfg), kgrpc.WithTimeout(30*time.Second),
		kgrpc.WithMiddleware(recovery.Recovery(), circuitbreaker.Client()))
	if err != nil {
		return nil, err
	}
	return contest.GRPC(conn, func() error { id.Close(); return conn.Close() }), nil
}

// only is a discovery that knows one instance.
type only string

func (o only) list() []*registry.ServiceInstance {
	u := url.URL{Scheme: "grpcs", Host: string(o)}
	return []*registry.ServiceInstance{{ID: "echo", Name: "echo", Endpoints: []string{u.String()}}}
}

// GetService implements registry.Discovery.
func (o only) GetService(context.Context, string) ([]*registry.ServiceInstance, error) {
	return o.list(), nil
}

// Watch implements registry.Discovery.
func (o only) Watch(ctx context.Context, _ string) (registry.Watcher, error) {
	ctx, stop := context.WithCancel(ctx)
	first := make(chan []*registry.ServiceInstance, 1)
	first <- o.list()
	return &watcher{ctx, stop, first}, nil
}

type watcher struct {
	ctx   context.Context
	stop  context.CancelFunc
	first chan []*registry.ServiceInstance
}

func (w *watcher) Next() ([]*registry.ServiceInstance, error) {
	select {
	case list := <-w.first:
		return list, nil
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

func (w *watcher) Stop() error { w.stop(); return nil }

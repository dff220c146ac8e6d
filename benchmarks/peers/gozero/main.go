// Gozero is go-zero: zrpc with mutual TLS, its defaults on both sides (p2c balancer,
// breakers, traces, metrics, statistics, timeouts), without its logs, which go to the
// same terminal, and without shedding by processor load, which a benchmark would cause.
package main

import (
	"context"
	"net"
	"time"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/proc"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
)

func main() {
	contest.Peer(contest.Contender{Name: "gozero", Serve: serve, Dial: dial,
		About: "go-zero v1.10.3 zrpc with mutual TLS: p2c balancer, breakers, timeouts, traces without exporter, statistics; no logs, no shedding by CPU"})
}

// free is an address: zrpc listens by itself.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func serve(ctx context.Context, dir string) (*contest.Server, error) {
	logx.Disable()
	id, cfg, err := identity.OpenTLS(dir, "echo", true)
	if err != nil {
		return nil, err
	}
	var c zrpc.RpcServerConf
	if err := conf.FillDefault(&c); err != nil {
		return nil, err
	}
	if c.ListenOn, err = free(); err != nil {
		return nil, err
	}
	c.Name, c.CpuThreshold, c.Timeout = "echo", 0, 30_000
	c.Log.Mode, c.Log.Level = "console", "severe"
	srv, err := zrpc.NewServer(c, func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, contest.Echo{}) })
	if err != nil {
		return nil, err
	}
	logx.Disable()
	srv.AddOptions(grpc.Creds(credentials.NewTLS(cfg)))
	go srv.Start() // panics if it cannot listen
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.ListenOn)
		if err == nil {
			conn.Close()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return &contest.Server{Addr: c.ListenOn, Close: func() error {
		id.Close()
		proc.Shutdown()
		srv.Stop()
		return nil
	}}, nil
}

func dial(_ context.Context, dir, addr string) (*contest.Client, error) {
	logx.Disable()
	id, cfg, err := identity.OpenTLS(dir, "client", false)
	if err != nil {
		return nil, err
	}
	var c zrpc.RpcClientConf
	if err := conf.FillDefault(&c); err != nil {
		return nil, err
	}
	c.Endpoints, c.Timeout = []string{addr}, 30_000
	client, err := zrpc.NewClient(c, zrpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		return nil, err
	}
	conn := client.Conn()
	return contest.GRPC(conn, func() error { id.Close(); return conn.Close() }), nil
}

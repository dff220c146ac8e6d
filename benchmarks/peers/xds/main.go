// Xds is grpc-go's proxyless mesh: xDS on both sides with mutual TLS, each process
// with a control plane of go-control-plane in itself.
package main

import (
	"context"
	"net"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/xds"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
)

func main() {
	contest.Peer(contest.Contender{Name: "xds", Serve: serve, Dial: dial,
		About: "grpc-go xDS on both sides: routes, round_robin within localities, mutual TLS with exact SPIFFE identity; a go-control-plane server in each process"})
}

func serve(ctx context.Context, dir string) (*contest.Server, error) {
	id, err := identity.Open(dir, "echo")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := plane{dir: filepath.Join(dir, "xds-server"), id: id}
	bootstrap, err := p.start(ctx, []resource{p.listener(l.Addr().(*net.TCPAddr))})
	if err != nil {
		return nil, err
	}
	creds, err := xdscreds.NewServerCredentials(xdscreds.ServerOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		return nil, err
	}
	srv, err := xds.NewGRPCServer(grpc.Creds(creds), xds.BootstrapContentsForTesting(bootstrap))
	if err != nil {
		return nil, err
	}
	grpc_testing.RegisterTestServiceServer(srv, contest.Echo{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return &contest.Server{Addr: l.Addr().String(), Close: func() error {
		srv.Stop()
		p.stop()
		id.Close()
		return <-served
	}}, nil
}

func dial(ctx context.Context, dir, addr string) (*contest.Client, error) {
	id, err := identity.Open(dir, "client")
	if err != nil {
		return nil, err
	}
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	server, err := id.CA.ID("", "echo")
	if err != nil {
		return nil, err
	}
	p := plane{dir: filepath.Join(dir, "xds-client"), id: id}
	bootstrap, err := p.start(ctx, p.service("echo", server, to))
	if err != nil {
		return nil, err
	}
	creds, err := xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		return nil, err
	}
	resolver, err := xds.NewXDSResolverWithConfigForTesting(bootstrap)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("xds:///echo", grpc.WithTransportCredentials(creds), grpc.WithResolvers(resolver))
	if err != nil {
		return nil, err
	}
	return contest.GRPC(conn, func() error {
		err := conn.Close()
		p.stop()
		id.Close()
		return err
	}), nil
}

// Alone is bare grpc-go with mutual TLS in a program that links nothing else: what
// overhead's bare, which is in one program with the mesh, does not show.
package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
)

func main() {
	contest.Peer(contest.Contender{Name: "alone", Serve: serve, Dial: dial,
		About: "bare in a program that links nothing of the mesh"})
}

func serve(_ context.Context, dir string) (*contest.Server, error) {
	id, cfg, err := identity.OpenTLS(dir, "echo", true)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(cfg)))
	grpc_testing.RegisterTestServiceServer(srv, contest.Echo{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return &contest.Server{Addr: l.Addr().String(), Close: func() error { id.Close(); srv.Stop(); return <-served }}, nil
}

func dial(_ context.Context, dir, addr string) (*contest.Client, error) {
	id, cfg, err := identity.OpenTLS(dir, "client", false)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		return nil, err
	}
	return contest.GRPC(conn, func() error { id.Close(); return conn.Close() }), nil
}

// Package stock is grpc-go as it comes, with mutual TLS and the options of a contender.
package stock

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
)

// Server serves the echo at a free port.
func Server(opts ...grpc.ServerOption) (*contest.Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := grpc.NewServer(opts...)
	grpc_testing.RegisterTestServiceServer(srv, contest.Echo{})
	var served sync.WaitGroup
	var why error
	served.Go(func() { why = srv.Serve(l) })
	return &contest.Server{Addr: l.Addr().String(), Close: func() error { srv.Stop(); served.Wait(); return why }}, nil
}

// Serve is Contender.Serve with mutual TLS.
func Serve(opts ...grpc.ServerOption) func(context.Context, string) (*contest.Server, error) {
	return func(_ context.Context, dir string) (*contest.Server, error) {
		id, cfg, err := identity.OpenTLS(dir, "echo", true)
		if err != nil {
			return nil, err
		}
		s, err := Server(append(opts[:len(opts):len(opts)], grpc.Creds(credentials.NewTLS(cfg)))...)
		return Closing(s, id), err
	}
}

// Dial is Contender.Dial with mutual TLS.
func Dial(opts ...grpc.DialOption) func(context.Context, string, string) (*contest.Client, error) {
	return func(_ context.Context, dir, addr string) (*contest.Client, error) {
		id, cfg, err := identity.OpenTLS(dir, "client", false)
		if err != nil {
			return nil, err
		}
		conn, err := grpc.NewClient("passthrough:///"+addr, append(opts[:len(opts):len(opts)], grpc.WithTransportCredentials(credentials.NewTLS(cfg)))...)
		if err != nil {
			return nil, err
		}
		return contest.GRPC(conn, func() error { id.Close(); return conn.Close() }), nil
	}
}

// Closing has a server end its identity too.
func Closing(s *contest.Server, id *identity.Identity) *contest.Server {
	if s != nil {
		end := s.Close
		s.Close = func() error { id.Close(); return end() }
	}
	return s
}

package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// settings completes the configuration of either side: switchOn, or leaveOff.
type settings func(cfg *mesh.Config, dir, protocol string) error

// member joins; the client is given the server's address as a catalog would do.
func member(ctx context.Context, set settings, dir, service, protocol string, echo ...resolver.Endpoint) (*mesh.Mesh, func() error, error) {
	id, err := identity.Open(dir, service)
	if err != nil {
		return nil, nil, err
	}
	cat := static.New(static.Config{})
	for _, e := range echo {
		if e.SPIFFEID, err = id.CA.ID("", "echo"); err == nil {
			err = cat.Set("echo", e)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	cfg := mesh.Config{Service: service, Catalog: cat, Identity: id.Source, Propagation: -1}
	if err := set(&cfg, filepath.Join(dir, "weft"), protocol); err != nil {
		return nil, nil, err
	}
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return m, func() error { defer id.Close(); return m.Leave(context.Background()) }, nil
}

func weftServe(set settings) func(context.Context, string) (*contest.Server, error) {
	return func(ctx context.Context, dir string) (*contest.Server, error) {
		m, leave, err := member(ctx, set, dir, "echo", "grpc")
		if err != nil {
			return nil, err
		}
		srv := m.NewGRPCServer()
		grpc_testing.RegisterTestServiceServer(srv, contest.Echo{})
		return meshServe(ctx, m, srv, leave)
	}
}

// meshServe runs a server of either kind.
func meshServe(ctx context.Context, m *mesh.Mesh, srv any, leave func() error) (*contest.Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, srv, l) }()
	return &contest.Server{Addr: l.Addr().String(), Close: func() error {
		stop()
		return errors.Join(<-served, leave())
	}}, nil
}

func weftDial(set settings) func(context.Context, string, string) (*contest.Client, error) {
	return func(ctx context.Context, dir, addr string) (*contest.Client, error) {
		m, leave, err := member(ctx, set, dir, "client", "grpc", resolver.Endpoint{Addr: addr, Protocol: "grpc"})
		if err != nil {
			return nil, err
		}
		conn, err := m.Dial("echo")
		if err != nil {
			return nil, err
		}
		return contest.GRPC(conn, leave), nil
	}
}

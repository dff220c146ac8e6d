package main

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security/devca"
)

// rotateSVIDs rotates the identities of both sides.
func rotateSVIDs(ctx context.Context, o options) (l *load, handshakes int64, err error) {
	ca, err := devca.New(devca.Config{})
	if err != nil {
		return nil, 0, err
	}
	server, err := ca.Source("echo")
	if err != nil {
		return nil, 0, err
	}
	defer server.Close()
	client, err := ca.Source("client")
	if err != nil {
		return nil, 0, err
	}
	defer client.Close()
	addr, stop, err := serve(ctx, server)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	id, err := ca.ID("", "echo")
	if err != nil {
		return nil, 0, err
	}
	steady, err := member(ctx, client, addr, id)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, steady.Leave(context.Background())) }()
	conn, err := steady.Dial("echo")
	if err != nil {
		return nil, 0, err
	}
	l = startLoad(ctx, conn, o.callers)
	defer l.end()
	for i := range o.rotations {
		turn := []*devca.Source{server, client}
		if i%2 == 1 {
			turn[0], turn[1] = turn[1], turn[0]
		}
		for _, s := range turn { // between the two, one side is new and one is old
			if err := s.Rotate(); err != nil {
				return l, handshakes, err
			}
			if err := dialAnew(ctx, l, client, addr, id); err != nil {
				return l, handshakes, err
			}
			handshakes++
		}
		select {
		case <-time.After(o.every):
		case <-ctx.Done():
			return l, handshakes, ctx.Err()
		}
	}
	l.end()
	return l, handshakes, nil
}

// dialAnew makes one call on a connection of its own.
func dialAnew(ctx context.Context, l *load, client *devca.Source, addr, id string) (err error) {
	m, err := member(ctx, client, addr, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Leave(context.Background())) }()
	conn, err := m.Dial("echo")
	if err == nil {
		l.call(ctx, grpc_testing.NewTestServiceClient(conn))
	}
	return err
}

func member(ctx context.Context, src *devca.Source, addr, id string) (*mesh.Mesh, error) {
	cat := static.New(static.Config{})
	if err := cat.Set("echo", resolver.Endpoint{Addr: addr, Protocol: "grpc", SPIFFEID: id}); err != nil {
		return nil, err
	}
	return mesh.Join(ctx, mesh.Config{Service: "client", Catalog: cat, Identity: src})
}

func serve(ctx context.Context, src *devca.Source) (addr string, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	m, err := mesh.Join(ctx, mesh.Config{Service: "echo", Catalog: static.New(static.Config{}), Identity: src, Propagation: -1})
	if err != nil {
		return "", nil, errors.Join(err, l.Close())
	}
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, echo{})
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, srv, l) }()
	return l.Addr().String(), func() error { cancel(); return errors.Join(<-served, m.Leave(context.Background())) }, nil
}

type echo struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (echo) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{}, nil
}

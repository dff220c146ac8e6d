package export_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/mesh"
)

type echo struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (echo) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, nil
}

// call joins a server and a caller with cfg, and makes n calls.
func call(t *testing.T, cfg mesh.Config, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	e, err := mesh.NewEmbedded(nil)
	if err != nil {
		t.Fatal(err)
	}
	server := join(ctx, t, mesh.Config{Service: "pay", Embedded: e, Propagation: -1})
	srv := server.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, echo{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	sctx, stop := context.WithCancel(context.Background())
	wg.Go(func() {
		if err := server.Serve(sctx, srv, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	cfg.Service, cfg.Embedded = "caller", e
	conn, err := join(ctx, t, cfg).Dial("pay")
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_testing.NewTestServiceClient(conn)
	for range n {
		// Retried until the server has announced itself.
		for _, err = client.EmptyCall(ctx, &grpc_testing.Empty{}, grpc.WaitForReady(true)); err != nil; {
			if ctx.Err() != nil {
				t.Fatal(err)
			}
			_, err = client.EmptyCall(ctx, &grpc_testing.Empty{}, grpc.WaitForReady(true))
		}
	}
}

func join(ctx context.Context, t *testing.T, cfg mesh.Config) *mesh.Mesh {
	t.Helper()
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Leave(context.Background()) })
	return m
}

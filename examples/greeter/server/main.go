// Server is the smallest member that serves: Greeter over gRPC and a greeting
// over HTTP, each on a port of its own, with mutual TLS.
//
// Against Consul: CONSUL_HTTP_ADDR=127.0.0.1:8500 go run ./examples/greeter/server
// Without Consul: see the README beside this folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/weft-mesh/weft/examples/greeter/greeterpb"
	"github.com/weft-mesh/weft/mesh"
)

func main() {
	grpcAddr := flag.String("grpc", "127.0.0.1:9901", "address for gRPC")
	httpAddr := flag.String("http", "127.0.0.1:9902", "address for HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *grpcAddr, *httpAddr); err != nil {
		log.Fatal(err)
	}
}

type greeter struct {
	greeterpb.UnimplementedGreeterServer
}

func (greeter) Hello(_ context.Context, req *greeterpb.HelloRequest) (*greeterpb.HelloReply, error) {
	return &greeterpb.HelloReply{Text: "Hello, " + req.Name}, nil
}

func run(ctx context.Context, grpcAddr, httpAddr string) error {
	m, err := mesh.Join(ctx, mesh.Config{Service: "greeter", Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer m.Leave(context.Background())

	grpcServer := m.NewGRPCServer()
	greeterpb.RegisterGreeterServer(grpcServer, greeter{})
	httpServer, err := m.NewHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s\n", r.URL.Query().Get("name"))
	}))
	if err != nil {
		return err
	}
	grpcListener, err := net.Listen("tcp", grpcAddr)
	if err != nil {
		return err
	}
	httpListener, err := net.Listen("tcp", httpAddr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 2)
	go func() { done <- m.Serve(ctx, grpcServer, grpcListener) }()
	go func() { done <- m.Serve(ctx, httpServer, httpListener) }()
	err = <-done
	cancel() // if one ends, both do
	if err2 := <-done; err == nil {
		err = err2
	}
	return err
}

// Client is the smallest member that calls: Greeter over gRPC and over HTTP.
//
// Against Consul: CONSUL_HTTP_ADDR=127.0.0.1:8500 go run ./examples/greeter/client
// Without Consul: see the README beside this folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"time"

	"github.com/weft-mesh/weft/examples/greeter/greeterpb"
	"github.com/weft-mesh/weft/mesh"
)

func main() {
	name := flag.String("name", "world", "whom to greet")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := run(ctx, *name); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name string) error {
	m, err := mesh.Join(ctx, mesh.Config{Service: "greeter-client"})
	if err != nil {
		return err
	}
	defer m.Leave(context.Background())

	conn, err := m.Dial("greeter")
	if err != nil {
		return err
	}
	reply, err := greeterpb.NewGreeterClient(conn).Hello(ctx, &greeterpb.HelloRequest{Name: name})
	if err != nil {
		return err
	}
	fmt.Println("gRPC:", reply.Text)

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://greeter/?name="+url.QueryEscape(name), nil)
	if err != nil {
		return err
	}
	resp, err := m.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	fmt.Print("HTTP: ", string(body))
	return nil
}

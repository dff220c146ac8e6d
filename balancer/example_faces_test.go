package balancer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// An http.Client whose hosts are services of a catalog.
func ExampleNewTransport() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of %s", r.URL.Path, r.Host)
	}))
	defer server.Close()

	catalog := static.New(static.Config{})
	if err := catalog.Set("inventory", resolver.Endpoint{Addr: server.Listener.Addr().String()}); err != nil {
		fmt.Println(err)
		return
	}
	transport, err := balancer.NewTransport(balancer.TransportConfig{
		Catalog:   catalog,
		Plaintext: true, // a test server; use TLS
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = transport.Close(context.Background()) }()

	client := &http.Client{Transport: transport}
	resp, err := client.Get("http://inventory/items/7")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(string(body))
	// Output: /items/7 of inventory
}

// A gRPC channel with this package's policy, chosen by its service config. It
// works with any resolver; resolver.Builder tells it more.
func ExampleAttach_serviceConfig() {
	catalog := static.New(static.Config{})
	conn, err := grpc.NewClient("mesh:///payments",
		grpc.WithResolvers(resolver.NewBuilder(catalog, resolver.BuilderConfig{})),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"weft":{"policy":"round_robin","subsetSize":8}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials())) // use security.ClientCredentials
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	fmt.Println(conn.Target())
	// Output: mesh:///payments
}

// A gRPC channel whose balancing says how long a connection may take to be made.
func ExampleDialOptions() {
	catalog := static.New(static.Config{})
	patient := balancer.Config{ConnectTimeout: 10 * time.Second} // longer than the others of the process
	opts, err := balancer.DialOptions(balancer.DialConfig{ConnectTimeout: 2 * time.Second},
		grpc.WithResolvers(resolver.NewBuilder(catalog, resolver.BuilderConfig{
			Decorate: func(s *grpcresolver.State) { balancer.Attach(s, &patient) },
		})),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"weft":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials())) // use security.ClientCredentials
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := grpc.NewClient("mesh:///payments", opts...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	fmt.Println(conn.Target())
	// Output: mesh:///payments
}

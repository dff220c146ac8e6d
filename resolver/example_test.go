package resolver_test

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// Two clouds are one catalog; the loss of one changes nothing but its state.
func ExampleMerge() {
	aws, gcp := static.New(static.Config{Name: "aws"}), static.New(static.Config{Name: "gcp"})
	_ = aws.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000"})
	_ = gcp.Set("payments", resolver.Endpoint{Addr: "10.1.0.1:9000"})
	cat, err := resolver.Merge(resolver.Source{Name: "aws", Catalog: aws}, resolver.Source{Name: "gcp", Catalog: gcp})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cat.Close(context.Background()) }()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_ = cat.Watch(ctx, "payments", func(s *resolver.Snapshot) {
		switch s.State {
		case resolver.Known:
			fmt.Println(s.State, len(s.Endpoints))
			gcp.Lose(errors.New("no route to gcp"))
		case resolver.Stale:
			if s.Sources[1].State != resolver.Stale {
				return // gcp has not answered yet
			}
			fmt.Println(s.State, len(s.Endpoints), s.Sources[0].State, s.Sources[1].State)
			fmt.Println(s.Reason)
			cancel()
		}
	})
	// Output:
	// known 2
	// stale 2 known stale
	// source "gcp" is stale: no route to gcp
}

// Any gRPC channel can find services in a catalog.
func ExampleNewBuilder() {
	cat := static.New(static.Config{})
	_ = cat.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000"})

	conn, err := grpc.NewClient("mesh:///payments",
		grpc.WithResolvers(resolver.NewBuilder(cat, resolver.BuilderConfig{})),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // for the example only
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	fmt.Println(conn.Target())
	// Output: mesh:///payments
}

// A cache in front of each source keeps the last good list through outages and,
// with a directory, through restarts.
func ExampleNewCache() {
	cache, err := resolver.NewCache(static.New(static.Config{}), resolver.CacheConfig{
		Name: "aws",
		Dir:  "", // for example /var/lib/checkout/weft
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close(context.Background()) }()

	ctx, cancel := context.WithCancel(context.Background())
	_ = cache.Watch(ctx, "payments", func(s *resolver.Snapshot) {
		if s.State == resolver.Known {
			cancel()
		}
	})
	for _, st := range cache.Status() {
		fmt.Println(st.Source, st.Service, st.State, st.Endpoints)
	}
	// Output: aws payments known 0
}

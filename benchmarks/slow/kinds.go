package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest" // registers least_request_experimental
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	_ "github.com/weft-mesh/weft/balancer" // registers weft
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

// kind is one way to call.
type kind struct {
	name   string
	serve  server
	client client
}

// kinds are those that are compared; the last is the one that counts. Time on the
// processor does not exist here, so that the others do without TLS.
func kinds() []kind {
	return []kind{
		{"round_robin", bareServer, bare(`{"round_robin":{}}`)},
		{"least_request", bareServer, bare(`{"least_request_experimental":{}}`)},
		{"p2c_ewma", bareServer, bare(`{"weft":{"policy":"peak_ewma","subsetSize":-1}}`)},
		{"weft", meshServer, meshClient},
	}
}

// bareServer is grpc-go's.
func bareServer(_ context.Context, f *fleet, impl grpc_testing.TestServiceServer, l net.Listener) error {
	srv := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(srv, impl)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }()
	f.closers = append(f.closers, func() { srv.Stop(); <-ended })
	return nil
}

// bare is a client of grpc-go with a policy and nothing else.
func bare(policy string) client {
	return func(_ context.Context, f *fleet) (*grpc.ClientConn, error) {
		var st grpcresolver.State
		for _, addr := range f.net.Addrs() {
			st.Endpoints = append(st.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: addr}}})
		}
		r := manual.NewBuilderWithScheme("bare")
		r.InitialState(st)
		return grpc.NewClient("bare:///"+service, grpc.WithResolvers(r), grpc.WithContextDialer(f.net.Dial),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0), grpc.WithDisableRetry(),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[`+policy+`]}`))
	}
}

const service = "work"

func join(ctx context.Context, f *fleet, name string) (*mesh.Mesh, error) {
	m, err := mesh.Join(ctx, mesh.Config{
		Service:      name,
		Locality:     resolver.Locality{Cloud: "aws"},
		Embedded:     f.embedded,
		Policy:       mesh.ServicePolicy{Idempotent: []string{"/grpc.testing.TestService/"}},
		Propagation:  -1,
		DrainTimeout: -1,
	})
	if err == nil {
		f.closers = append(f.closers, func() { _ = m.Leave(context.Background()) })
	}
	return m, err
}

// meshServer is a member of the mesh.
func meshServer(ctx context.Context, f *fleet, impl grpc_testing.TestServiceServer, l net.Listener) error {
	m, err := join(ctx, f, service)
	if err != nil {
		return err
	}
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, impl)
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.Serve(ctx, srv, l) }()
	f.closers = append(f.closers, func() { stop(); <-ended })
	return nil
}

// meshClient is a member of the mesh with its defaults.
func meshClient(ctx context.Context, f *fleet) (*grpc.ClientConn, error) {
	m, err := join(ctx, f, "caller")
	if err != nil {
		return nil, err
	}
	return m.Dial(service, grpc.WithContextDialer(f.net.Dial))
}

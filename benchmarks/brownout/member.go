package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

const (
	naiveSetting = `round_robin, retryPolicy{maxAttempts 3, initialBackoff 25ms, UNAVAILABLE} in every layer`
	naiveConfig  = `{"loadBalancingConfig":[{"round_robin":{}}],"methodConfig":[{"name":[{}],"retryPolicy":{
		"maxAttempts":3,"initialBackoff":"0.025s","maxBackoff":"1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
)

// weft calls and serves by the mesh.
func weft(ctx context.Context, c *chain, service string) (*member, error) {
	m, err := mesh.Join(ctx, mesh.Config{
		Service:      service,
		Locality:     resolver.Locality{Cloud: "aws"},
		Embedded:     c.embedded,
		Policy:       mesh.ServicePolicy{Idempotent: []string{"/grpc.testing.TestService/"}},
		Propagation:  -1,
		DrainTimeout: -1,
	})
	if err != nil {
		return nil, err
	}
	return &member{
		serve: func(ctx context.Context, impl grpc_testing.TestServiceServer, l net.Listener) {
			srv := m.NewGRPCServer()
			grpc_testing.RegisterTestServiceServer(srv, impl)
			_ = m.Serve(ctx, srv, l)
		},
		dial: func(service string) (*grpc.ClientConn, error) {
			return m.Dial(service, grpc.WithContextDialer(c.dial))
		},
		close: func() { _ = m.Leave(context.Background()) },
	}, nil
}

// naive calls and serves with what grpc-go has, and the same TLS.
func naive(_ context.Context, c *chain, service string) (*member, error) {
	src, err := c.embedded.CA.Source(service)
	if err != nil {
		return nil, err
	}
	return &member{
		serve: func(ctx context.Context, impl grpc_testing.TestServiceServer, l net.Listener) {
			srv := grpc.NewServer(grpc.Creds(security.ServerCredentials(src, nil, nil)))
			grpc_testing.RegisterTestServiceServer(srv, impl)
			defer context.AfterFunc(ctx, srv.Stop)()
			_ = srv.Serve(l)
		},
		dial: func(service string) (*grpc.ClientConn, error) {
			id, err := c.embedded.CA.ID("", service)
			if err != nil {
				return nil, err
			}
			var st grpcresolver.State
			for _, addr := range c.addrs(service) {
				a := grpcresolver.Address{Addr: addr, Attributes: resolver.WithExpectedSPIFFEID(nil, id)}
				st.Endpoints = append(st.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{a}})
			}
			r := manual.NewBuilderWithScheme("bare")
			r.InitialState(st)
			return grpc.NewClient("bare:///"+service, grpc.WithResolvers(r), grpc.WithContextDialer(c.dial),
				grpc.WithTransportCredentials(security.ClientCredentials(src, resolver.ExpectedSPIFFEID)),
				grpc.WithDefaultServiceConfig(naiveConfig), grpc.WithIdleTimeout(0))
		},
		close: func() { _ = src.Close() },
	}, nil
}

package balancer

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type (
	unaryFunc  func(ctx context.Context, in string) (string, error)
	streamFunc func(grpc.ServerStream) error
)

// backend is a real gRPC server on loopback with one unary and one streaming method.
type backend struct {
	*grpc.Server
	addr string
}

// startBackend serves on addr; empty is any free port. A nil unary answers the server's address.
func startBackend(t *testing.T, addr string, unary unaryFunc, stream streamFunc, opts ...grpc.ServerOption) *backend {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return startBackendOn(t, lis, unary, stream, opts...)
}

func startBackendOn(t *testing.T, lis net.Listener, unary unaryFunc, stream streamFunc, opts ...grpc.ServerOption) *backend {
	t.Helper()
	b := &backend{Server: grpc.NewServer(opts...), addr: lis.Addr().String()}
	if unary == nil {
		unary = func(context.Context, string) (string, error) { return b.addr, nil }
	}
	b.RegisterService(&grpc.ServiceDesc{
		ServiceName: "rig.Rig",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := dec(in); err != nil {
				return nil, err
			}
			out, err := unary(ctx, in.Value)
			return wrapperspb.String(out), err
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			return stream(s)
		}}},
	}, nil)
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Serve(lis) }()
	t.Cleanup(func() { b.Stop(); <-done })
	return b
}

const weftConfig = `{"loadBalancingConfig":[{"weft":{"policy":"round_robin"}}]}`

// dial makes a client of a resolver whose state the test sets.
func dial(t *testing.T, r *manual.Resolver, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultServiceConfig(weftConfig), grpc.WithIdleTimeout(0),
	}, opts...)
	cc, err := grpc.NewClient(r.Scheme()+":///payments", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// call makes a unary call; the reply of the default backend is its address.
func call(ctx context.Context, cc *grpc.ClientConn, in string, opts ...grpc.CallOption) (string, error) {
	out := new(wrapperspb.StringValue)
	err := cc.Invoke(ctx, "/rig.Rig/Do", wrapperspb.String(in), out, opts...)
	return out.Value, err
}

func openStream(ctx context.Context, cc *grpc.ClientConn, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return cc.NewStream(ctx, &grpc.StreamDesc{StreamName: "Chat", ServerStreams: true, ClientStreams: true}, "/rig.Rig/Chat", opts...)
}

func endpoints(addrs ...string) grpcresolver.State {
	var s grpcresolver.State
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: a}}})
	}
	return s
}

func newResolver(s grpcresolver.State) *manual.Resolver {
	r := manual.NewBuilderWithScheme("rig")
	r.InitialState(s)
	return r
}

// echo answers each message until the client closes.
func echo(s grpc.ServerStream) error {
	p, _ := peer.FromContext(s.Context())
	for {
		m := new(wrapperspb.StringValue)
		if err := s.RecvMsg(m); err != nil {
			return nil
		}
		if err := s.SendMsg(wrapperspb.String(p.LocalAddr.String())); err != nil {
			return err
		}
	}
}

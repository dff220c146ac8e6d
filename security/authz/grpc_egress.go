package authz

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// EgressDialer is the option of a gRPC connection to the outside: each address that
// it dials must be allowed, and what it turns out to be, see Egress.Dial. Name the target passthrough:///host:port, so that what
// is dialled is the name; with dns:/// it is the addresses that the name has.
func EgressDialer(e *Egress) grpc.DialOption {
	dial := e.Dial(net.Dialer{})
	return grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if err := e.Check(host, port); err != nil {
			return nil, err
		}
		return dial(ctx, "tcp", addr)
	})
}

// EgressInterceptors are the options of a gRPC connection that judge its target's name
// for each call, and fail a call that is not allowed with PermissionDenied at once.
func EgressInterceptors(e *Egress) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if err := e.target(cc.Target()); err != nil {
				return err
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if err := e.target(cc.Target()); err != nil {
				return nil, err
			}
			return stream(ctx, desc, cc, method, opts...)
		}),
	}
}

// target judges "dns:///host:port", "passthrough:///host:port", or "host:port".
func (e *Egress) target(target string) error {
	addr := target
	if i := strings.LastIndexByte(target, '/'); i >= 0 {
		addr = target[i+1:]
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, "443" // gRPC's default
	}
	if err := e.Check(host, port); err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return nil
}

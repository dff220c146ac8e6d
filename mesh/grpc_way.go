package mesh

import (
	"context"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
)

// rpcWay is the gRPC face of a way: gates, loop, attempt, in the order of layers.go.
type rpcWay struct {
	unary  grpc.UnaryClientInterceptor
	stream grpc.StreamClientInterceptor
	err    error // of a policy that gRPC cannot do: a method name that is none
}

func (w *way) openRPC() rpcWay {
	survive, err := resilience.NewGRPCClient(resilience.GRPCClientConfig{Service: w.service, Loop: w.loop, Idempotent: w.idempotent, Balanced: true})
	if err != nil {
		return rpcWay{err: err}
	}
	r := rpcWay{unary: survive.Unary, stream: survive.Stream}
	if w.attempt != nil {
		r = r.around(rpcWay{unary: balancer.GateUnary(w.attempt), stream: balancer.GateStream(w.attempt)})
	}
	if len(w.gates) > 0 {
		gates := resilience.NewGRPCClientGates(w.service, w.gates...)
		r = rpcWay{unary: gates.Unary, stream: gates.Stream}.around(r)
	}
	return r
}

// around is r with inner inside.
func (r rpcWay) around(inner rpcWay) rpcWay {
	return rpcWay{
		unary: func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return r.unary(ctx, method, req, reply, cc, func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
				return inner.unary(ctx, method, req, reply, cc, invoke, opts...)
			}, opts...)
		},
		stream: func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return r.stream(ctx, desc, cc, method, func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				return inner.stream(ctx, desc, cc, method, open, opts...)
			}, opts...)
		},
	}
}

package resilience

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// GRPCInbound gives a server's handlers their [Inbound], refuses what is too late,
// and marks replies that failed after retries below. Its Unary and Stream are
// interceptors for stock grpc-go.
type GRPCInbound struct{ cfg InboundConfig }

// NewGRPCInbound makes a GRPCInbound.
func NewGRPCInbound(cfg InboundConfig) *GRPCInbound { return &GRPCInbound{cfg} }

// Unary is a grpc.UnaryServerInterceptor.
func (i *GRPCInbound) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	var reply any
	err := i.serve(ctx, info.FullMethod, false, func(ctx context.Context) (err error) {
		reply, err = handler(ctx, req)
		return err
	}, func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) })
	return reply, err
}

// Stream is a grpc.StreamServerInterceptor.
func (i *GRPCInbound) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return i.serve(ss.Context(), info.FullMethod, true, func(ctx context.Context) error {
		return handler(srv, &inboundStream{ss, ctx})
	}, ss.SetTrailer)
}

func (i *GRPCInbound) serve(ctx context.Context, method string, stream bool, handle func(context.Context) error, trailer func(metadata.MD)) error {
	done := func(Outcome) {}
	if i.cfg.Deadline != nil {
		var err error
		if done, err = i.cfg.Deadline.Enter(ctx, &Info{Service: i.cfg.Service, Method: method, Stream: stream}); err != nil {
			trailer(metadata.MD{pushback: {"-1"}})
			return status.Error(codes.DeadlineExceeded, err.Error())
		}
	}
	attempt := 1
	if v := metadata.ValueFromIncomingContext(ctx, GRPCAttemptKey); len(v) == 1 && !i.cfg.Untrusted {
		attempt = ParsePreviousAttempts(v[0])
	}
	ctx, in := NewInbound(ctx, attempt)
	o := Outcome{}
	defer func() { done(o) }() // a handler may panic
	err := handle(ctx)
	if err == nil {
		o.Class = Success
	} else {
		o = FromGRPC(GRPCReply{Err: err, BytesSent: true, BytesReceived: true, CallerEnded: errors.Is(ctx.Err(), context.DeadlineExceeded)})
		if in.Retried() {
			trailer(metadata.MD{RetriedKey: {"1"}})
		}
	}
	return err
}

// inboundStream is a ServerStream with another context.
type inboundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *inboundStream) Context() context.Context { return s.ctx }

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
func (i *GRPCInbound) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
	e, err := i.cfg.Deadline.enter(ctx, info.FullMethod, false)
	if err != nil {
		_ = grpc.SetTrailer(ctx, lateMark(err))
		return nil, status.Error(codes.DeadlineExceeded, err.Error())
	}
	if i.cfg.Logger != nil {
		defer func() {
			if p := recover(); p != nil {
				err = recovered(ctx, i.cfg.Logger, info.FullMethod, p)
			}
		}()
	}
	hctx, in := i.inbound(ctx) // not ctx: the deferred function would move it to the heap
	reply, err = handler(hctx, req)
	if i.leave(ctx, e, in, err) {
		_ = grpc.SetTrailer(ctx, retriedMark())
	}
	return reply, err
}

// Stream is a grpc.StreamServerInterceptor.
func (i *GRPCInbound) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	e, err := i.cfg.Deadline.enter(ss.Context(), info.FullMethod, true)
	if err != nil {
		ss.SetTrailer(lateMark(err))
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	if i.cfg.Logger != nil {
		defer func() {
			if p := recover(); p != nil {
				err = recovered(ss.Context(), i.cfg.Logger, info.FullMethod, p)
			}
		}()
	}
	ctx, in := i.inbound(ss.Context())
	err = handler(srv, &inboundStream{ss, ctx})
	if i.leave(ctx, e, in, err) {
		ss.SetTrailer(retriedMark())
	}
	return err
}

// lateMark tells the caller not to come back, for another server would be as late; or,
// if it is this server that is slow, that nothing was done.
func lateMark(err error) metadata.MD {
	if errors.Is(err, errSlowHere) {
		return metadata.MD{RefusedKey: {"1"}}
	}
	return metadata.MD{pushback: {"-1"}}
}

func retriedMark() metadata.MD { return metadata.MD{RetriedKey: {"1"}} }

// inbound is the context of a handler, and the request in it.
func (i *GRPCInbound) inbound(ctx context.Context) (context.Context, *Inbound) {
	if in := reservedIn(ctx); in != nil {
		return ctx, in
	}
	return NewInbound(ctx, i.attempt(ctx))
}

// attempt is the number of the request's attempt.
func (i *GRPCInbound) attempt(ctx context.Context) int {
	if i.cfg.Untrusted {
		return 1
	}
	if v := metadata.ValueFromIncomingContext(ctx, GRPCAttemptKey); len(v) == 1 {
		return ParsePreviousAttempts(v[0])
	}
	return 1
}

// leave ends a request, and reports whether its failed reply gets the mark. A
// handler that panics does not come here: its time says nothing.
func (i *GRPCInbound) leave(ctx context.Context, e entry, in *Inbound, err error) (mark bool) {
	if err == nil {
		e.done(Outcome{Class: Success})
		return false
	}
	e.done(FromGRPC(GRPCReply{Err: err, BytesSent: true, BytesReceived: true, CallerEnded: errors.Is(ctx.Err(), context.DeadlineExceeded)}))
	return in.Retried()
}

// inboundStream is a ServerStream with another context.
type inboundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *inboundStream) Context() context.Context { return s.ctx }

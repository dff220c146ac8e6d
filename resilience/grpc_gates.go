package resilience

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// GRPCRefusal is the status error of a call that a gate refused with err:
// Unavailable for ErrOpen and ErrThrottled, ResourceExhausted for ErrConcurrency
// and ErrRate, what a Fault says, and the context's for a context that ended. The
// caller can still find the [Refused] in it. An err of another kind is returned
// as it is if it is a status error, else as Unavailable.
func GRPCRefusal(err error) error {
	if err == nil {
		return nil
	}
	return &grpcRefused{err: err, st: status.New(refusalCode(err), err.Error())}
}

func refusalCode(err error) codes.Code {
	var r *Refused
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrDeadlinePassed), errors.Is(err, ErrDeadlineShort):
		return codes.DeadlineExceeded
	case errors.As(err, &r) && r.Code != 0:
		return codes.Code(r.Code)
	case errors.Is(err, ErrConcurrency), errors.Is(err, ErrRate):
		return codes.ResourceExhausted
	}
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	return codes.Unavailable
}

// grpcRefused is a refusal with a status.
type grpcRefused struct {
	err error
	st  *status.Status
}

func (e *grpcRefused) Error() string              { return e.err.Error() }
func (e *grpcRefused) Unwrap() error              { return e.err }
func (e *grpcRefused) GRPCStatus() *status.Status { return e.st }

// GRPCClientGates puts gates in front of the calls of a gRPC connection, unary and
// streams alike, on stock grpc-go. The class of a call is the outgoing metadata
// PriorityKey.
//
// A call enters the gates once, with all its attempts in it, if these interceptors
// come before those of a [GRPCClient]; and each attempt enters if they come after.
// Info.Cloud is empty: which endpoint an attempt goes to is decided later.
type GRPCClientGates struct {
	service string
	chain   *Chain
	wants   wants
}

// NewGRPCClientGates makes interceptors of gates, entered in order. service names
// the called service; empty: the connection's target.
func NewGRPCClientGates(service string, gates ...Gate) *GRPCClientGates {
	return &GRPCClientGates{service, NewChain(gates...), wantsOf(gates)}
}

// DialOptions is both interceptors.
func (g *GRPCClientGates) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(g.Unary), grpc.WithChainStreamInterceptor(g.Stream)}
}

func (g *GRPCClientGates) enter(ctx context.Context, cc *grpc.ClientConn, method string, stream bool) (func(Outcome), error) {
	in := Info{Service: g.service, Method: method, Stream: stream}
	if in.Service == "" && cc != nil {
		in.Service = strings.TrimLeft(cc.Target()[strings.LastIndexByte(cc.Target(), '/')+1:], "/")
	}
	md, ok := metadata.FromOutgoingContext(ctx)
	if ok {
		in.Priority = priorityOf(md)
	}
	if g.wants.headers {
		in.Header = headerOf(md)
	}
	done, err := g.chain.Enter(ctx, &in)
	return done, GRPCRefusal(err)
}

// Unary is a grpc.UnaryClientInterceptor.
func (g *GRPCClientGates) Unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	done, err := g.enter(ctx, cc, method, false)
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended { // a panic inside
			done(Outcome{})
		}
	}()
	err = invoke(ctx, method, req, reply, cc, opts...)
	ended = true
	done(clientOutcome(ctx, err))
	return err
}

// Stream is a grpc.StreamClientInterceptor. The gates are left when the stream ends.
func (g *GRPCClientGates) Stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	done, err := g.enter(ctx, cc, method, true)
	if err != nil {
		return nil, err
	}
	once := onceOutcome(done)
	s, err := streamer(ctx, desc, cc, method, append(opts, grpc.OnFinish(func(err error) { once(clientOutcome(ctx, err)) }))...)
	if err != nil { // an interceptor inside may have made no stream
		once(clientOutcome(ctx, err))
	}
	return s, err
}

// clientOutcome is the outcome of a whole call, of which no transport facts are
// known. A refusal by an inner gate counts as what it says.
func clientOutcome(ctx context.Context, err error) Outcome {
	if err == nil {
		return Outcome{Class: Success}
	}
	var r *Refused
	if errors.As(err, &r) {
		return r.Outcome
	}
	end, _ := CallDeadline(ctx)
	return FromGRPC(GRPCReply{Err: err, BytesSent: true, BytesReceived: !errors.Is(ctx.Err(), context.Canceled), CallerEnded: CallerEnded(ctx, end)})
}

// onceOutcome lets only the first end count.
func onceOutcome(done func(Outcome)) func(Outcome) {
	ended := make(chan struct{}, 1)
	return func(o Outcome) {
		select {
		case ended <- struct{}{}:
			done(o)
		default:
		}
	}
}

func priorityOf(md metadata.MD) Priority {
	if v := md[PriorityKey]; len(v) == 1 {
		p, _ := ParsePriority(v[0])
		return p
	}
	return Critical
}

func headerOf(md metadata.MD) func(string) string {
	return func(name string) string {
		if v := md[strings.ToLower(name)]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
}

// callerOf is the SPIFFE ID of a verified peer, or empty.
func callerOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	return callerOfAuth(p.AuthInfo)
}

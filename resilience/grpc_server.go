package resilience

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// GRPCServerConfig is what a [GRPCServerGates] does. The zero value recovers from
// panics and refuses nothing.
type GRPCServerConfig struct {
	// Service is our own name in Info; empty is allowed.
	Service string
	// Tap are gates entered before a request's message is read: limits that shed.
	// They run on the goroutine that reads the connection, so they must not wait;
	// a Fault belongs into Gates. Empty: none, and Tap need not be installed.
	Tap []Gate
	// Gates are entered before the handler. Empty: none.
	Gates []Gate
	// Streams reports whether a method is a stream, for Tap, which cannot see it. nil:
	// all are calls, and a stream holds its place in a ConcurrencyLimit until it
	// ends.
	Streams func(method string) bool
	// Logger is told of panics, as event "panic.recovered" with the stack. nil: nobody.
	Logger *slog.Logger
}

// GRPCServerGates puts gates in front of a server's handlers, unary and streams
// alike, on stock grpc-go, and turns a handler's panic into one Internal status.
// The class of a call is the metadata PriorityKey, its caller the SPIFFE ID of
// the client certificate that the server's TLS let through.
type GRPCServerGates struct {
	cfg                 GRPCServerConfig
	tap, gates          *Chain
	tapWants, gateWants wants
}

// NewGRPCServerGates makes the gates of a server.
func NewGRPCServerGates(cfg GRPCServerConfig) *GRPCServerGates {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &GRPCServerGates{cfg, NewChain(cfg.Tap...), NewChain(cfg.Gates...), wantsOf(cfg.Tap), wantsOf(cfg.Gates)}
}

// ServerOptions is both interceptors, and the tap if Tap is set.
func (g *GRPCServerGates) ServerOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.Unary), grpc.ChainStreamInterceptor(g.Stream)}
	if len(g.tap.gates) > 0 {
		opts = append(opts, grpc.InTapHandle(g.Tap))
	}
	return opts
}

// Tap is a tap.ServerInHandle. The gates are left when the stream's context ends,
// with outcome Success: what the handler says is not known here. Its refusals
// have no trailer, so a time to wait is not told.
func (g *GRPCServerGates) Tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	in := Info{Service: g.cfg.Service, Method: info.FullMethodName, Priority: priorityOf(info.Header)}
	in.Stream = g.cfg.Streams != nil && g.cfg.Streams(info.FullMethodName)
	g.tapWants.fill(ctx, &in, info.Header)
	done, err := g.tap.Enter(ctx, &in)
	if err != nil {
		return nil, GRPCRefusal(err)
	}
	// The only end that comes for every stream, unknown methods included.
	context.AfterFunc(ctx, func() { done(Outcome{Class: Success}) })
	return ctx, nil
}

// Unary is a grpc.UnaryServerInterceptor.
func (g *GRPCServerGates) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
	done, err := g.enter(ctx, info.FullMethod, false)
	if err != nil {
		_ = grpc.SetTrailer(ctx, refusalTrailer(err))
		return nil, err
	}
	defer func() { g.leave(ctx, info.FullMethod, recover(), &err, done) }()
	return handler(ctx, req)
}

// Stream is a grpc.StreamServerInterceptor.
func (g *GRPCServerGates) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	ctx := ss.Context()
	done, err := g.enter(ctx, info.FullMethod, true)
	if err != nil {
		ss.SetTrailer(refusalTrailer(err))
		return err
	}
	defer func() { g.leave(ctx, info.FullMethod, recover(), &err, done) }()
	return handler(srv, ss)
}

func (g *GRPCServerGates) enter(ctx context.Context, method string, stream bool) (done func(Outcome), err error) {
	if len(g.gates.gates) == 0 {
		return nothing, nil
	}
	defer func() { // a gate is a user's callback too
		if p := recover(); p != nil {
			done, err = nil, recovered(ctx, g.cfg.Logger, method, p)
		}
	}()
	md, _ := metadata.FromIncomingContext(ctx)
	in := Info{Service: g.cfg.Service, Method: method, Priority: priorityOf(md), Stream: stream}
	g.gateWants.fill(ctx, &in, md)
	done, err = g.gates.Enter(ctx, &in)
	return done, GRPCRefusal(err)
}

// leave ends a call that the handler returned from, or panicked out of.
func (g *GRPCServerGates) leave(ctx context.Context, method string, p any, err *error, done func(Outcome)) {
	if p != nil {
		*err = recovered(ctx, g.cfg.Logger, method, p)
		done(Outcome{Class: Failure})
		return
	}
	done(serverOutcome(ctx, *err))
}

func serverOutcome(ctx context.Context, err error) Outcome {
	if ctx.Err() != nil { // the caller left, or its time is over
		return Outcome{}
	}
	return FromGRPC(GRPCReply{Err: err, BytesSent: true, BytesReceived: true})
}

// recovered makes one Internal of a panic. Its text tells the caller nothing of
// the process: the event does.
func recovered(ctx context.Context, log *slog.Logger, method string, p any) error {
	logPanic(ctx, log, method, p)
	return status.Error(codes.Internal, "resilience: the handler failed")
}

func logPanic(ctx context.Context, log *slog.Logger, method string, p any) {
	log.LogAttrs(ctx, slog.LevelError, "panic.recovered", slog.String("method", clip(method)), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
}

// refusalTrailer tells the client that nothing was done, unless a fault acts as
// if, and how long to wait (gRFC A6).
func refusalTrailer(err error) metadata.MD {
	var r *Refused
	if !errors.As(err, &r) || r.Reason == ErrFault { //nolint:errorlint // the sentinel itself
		return nil
	}
	md := metadata.MD{RefusedKey: {"1"}}
	if r.RetryAfter > 0 {
		md[pushback] = []string{strconv.FormatInt(r.RetryAfter.Milliseconds()+1, 10)}
	}
	return md
}

func (w wants) fill(ctx context.Context, in *Info, md metadata.MD) {
	if w.headers {
		in.Header = headerOf(md)
	}
	if w.caller {
		in.Caller = callerOf(ctx)
	}
}

// callerOfAuth is the URI SAN of a verified leaf.
func callerOfAuth(info credentials.AuthInfo) string {
	t, ok := info.(credentials.TLSInfo)
	if !ok {
		return ""
	}
	if t.SPIFFEID != nil {
		return t.SPIFFEID.String()
	}
	return callerOfCerts(t.State.PeerCertificates)
}

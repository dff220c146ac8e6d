package mesh

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/security"
)

// served is a request as it is measured.
type served struct {
	w      *watch
	method string
	start  int64
	draw   uint32
	span   telemetry.Span
	traced bool
}

// begin takes a request in, with the caller's trace and baggage.
func (w *watch) begin(ctx context.Context, method string) (context.Context, served) {
	s := served{w: w, method: method, start: balancer.Now(), draw: telemetry.Draw()}
	if w.tracer == nil {
		return ctx, s
	}
	ctx = w.accept(ctx)
	if w.tracer.DecideInbound(ctx, s.draw) == telemetry.Sampled {
		name := telemetry.RPCMethod(method)
		ctx, s.span = w.tracer.Serve(ctx, name, attribute.String(telemetry.AttrRPCSystem, "grpc"), attribute.String(telemetry.AttrRPCMethod, name))
		s.traced = true
	}
	return ctx, s
}

func (w *watch) accept(ctx context.Context) context.Context {
	return w.tracer.AcceptGRPC(ctx, headerOf(ctx), func() bool { return w.stranger(security.PeerFromContext(ctx)) })
}

func (s *served) end(ctx context.Context, err error) {
	took := time.Duration(balancer.Now() - s.start)
	code := telemetry.Status(err)
	slow := s.w.rpcs.Cell(s.method).Record(code, took, s.draw)
	if !s.traced && err == nil && !slow && !s.w.access.Wants(false, s.draw) {
		return
	}
	failed, failure := telemetry.Failed(code, true), ""
	if failed {
		failure = telemetry.StatusName(code)
	}
	name := telemetry.RPCMethod(s.method)
	status := attribute.String(telemetry.AttrRPCStatus, telemetry.StatusName(code))
	if s.traced {
		s.span.End(failure, status)
	} else if failed || slow {
		s.w.tracer.Late(ctx, telemetry.Server, name, late(failed), failure, took, attribute.String(telemetry.AttrRPCSystem, "grpc"),
			attribute.String(telemetry.AttrRPCMethod, name), status)
	}
	if s.w.access.Wants(failed, s.draw) {
		peer, _ := security.PeerFromContext(ctx)
		s.w.access.Log(ctx, telemetry.Record{
			Side: "server", Protocol: "grpc", Service: s.w.service, Method: name, Status: telemetry.StatusName(code),
			Took: took, Peer: peer.String(), TraceID: telemetry.TraceID(ctx),
		})
	}
}

// late is why a span is made after the call.
func late(failed bool) string {
	if failed {
		return "error"
	}
	return "slow"
}

// tap counts what is refused before it is a call. Names that come from callers get
// no cell of their own here.
func (w *watch) tap(next tap.ServerInHandle) tap.ServerInHandle {
	if w == nil {
		return next
	}
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		tctx, err := next(ctx, info)
		if err != nil {
			w.rpcs.Known(info.FullMethodName).Record(telemetry.Status(err), 0, telemetry.Draw())
		}
		return tctx, err
	}
}

// unaryServer measures around the first interceptor of a server.
func (w *watch) unaryServer(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if w == nil {
		return next
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, s := w.begin(ctx, info.FullMethod)
		reply, err := next(ctx, req, info, handler)
		s.end(ctx, err)
		return reply, err
	}
}

// streamServer is unaryServer for streams.
func (w *watch) streamServer(next grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	if w == nil {
		return next
	}
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, s := w.begin(ss.Context(), info.FullMethod)
		err := next(srv, &tracedStream{ss, ctx}, info, handler)
		s.end(ctx, err)
		return err
	}
}

// tracedStream is a ServerStream with the context of its span.
type tracedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *tracedStream) Context() context.Context { return s.ctx }

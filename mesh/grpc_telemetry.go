package mesh

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/security"
)

// rpcCall is one call as it is measured. It lives on the caller's stack.
type rpcCall struct {
	s      *seen
	cell   *telemetry.Cell
	method string
	start  int64
	draw   uint32
	how    telemetry.Decision
}

// rpc begins a call: one look-up, one clock read, one decision.
func (s *seen) rpc(ctx context.Context, method string) rpcCall {
	if s == nil {
		return rpcCall{}
	}
	draw := telemetry.Draw()
	return rpcCall{s, s.rpcs.Cell(method), method, balancer.Now(), draw, s.w.tracer.Decide(ctx, draw)}
}

// unary prepares a call for the traces, if it is in one.
func (c rpcCall) unary(ctx context.Context, call *balancer.Call, invoke grpc.UnaryInvoker) (context.Context, grpc.UnaryInvoker, *telemetry.Call) {
	if c.s == nil || !c.s.w.tracer.Carries(ctx, c.how) {
		return ctx, invoke, nil
	}
	ctx, span := c.trace(ctx)
	if span == nil {
		return ctx, invoke, nil
	}
	return ctx, c.attempts(call, span, invoke), span
}

// trace begins the span of a sampled call, or only tells the other end about the trace.
func (c rpcCall) trace(ctx context.Context) (context.Context, *telemetry.Call) {
	t, foreign := c.s.w.tracer, c.s.foreign.Load()
	if c.how != telemetry.Sampled {
		return t.SendGRPC(ctx, c.how, foreign), nil
	}
	sctx, span := t.Call(ctx, telemetry.RPCMethod(c.method), c.attrs()...)
	if !span.Recorded() {
		return t.SendGRPC(sctx, telemetry.Sampled, foreign), nil
	}
	return sctx, span
}

func (c rpcCall) attrs() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String(telemetry.AttrRPCSystem, "grpc"),
		attribute.String(telemetry.AttrRPCMethod, telemetry.RPCMethod(c.method)),
		attribute.String(telemetry.AttrServerAddress, c.s.service),
	}
}

// attempts gives each attempt a span, whose context goes to the other end.
func (c rpcCall) attempts(call *balancer.Call, span *telemetry.Call, invoke grpc.UnaryInvoker) grpc.UnaryInvoker {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		ctx, a := span.Attempt(ctx)
		ctx = c.s.w.tracer.SendGRPC(ctx, telemetry.Sampled, c.s.foreign.Load())
		var p peer.Peer
		err := invoke(ctx, method, req, reply, cc, append(opts[:len(opts):len(opts)], grpc.Peer(&p))...)
		addr := ""
		if p.Addr != nil {
			addr = p.Addr.String()
		}
		c.s.endAttempt(a, call, addr, rpcFailure(err))
		return err
	}
}

// end counts a call. What only few calls need is in finish.
func (c rpcCall) end(ctx context.Context, call *balancer.Call, span *telemetry.Call, err error) {
	if c.s == nil {
		return
	}
	// A call of one attempt ended with it, and the balancer has read the clock then.
	now := call.Ended()
	if now == 0 || err != nil || call.Attempts() != 1 {
		now = balancer.Now()
	}
	took := time.Duration(now - c.start)
	code := telemetry.Status(err)
	slow := c.cell.Record(code, took, c.draw)
	if span == nil && err == nil && !slow && !c.s.w.access.Wants(false, c.draw) {
		return
	}
	e := ended{"grpc", telemetry.RPCMethod(c.method), telemetry.StatusName(code), rpcFailure(err), took, c.draw, slow}
	attrs := []attribute.KeyValue{attribute.String(telemetry.AttrRPCStatus, e.status)}
	if span == nil {
		attrs = append(attrs, c.attrs()...)
	}
	c.s.finish(ctx, call, span, e, err, attrs...)
}

// rpcFailure is the status of an error, empty for none.
func rpcFailure(err error) string {
	if err == nil {
		return ""
	}
	return telemetry.StatusName(telemetry.Status(err))
}

// stream is a call that ends when gRPC says so.
func (s *seen) stream(ctx context.Context, call *balancer.Call, streamer grpc.Streamer, opts []grpc.CallOption) (context.Context, grpc.Streamer, []grpc.CallOption) {
	if s == nil {
		return ctx, streamer, opts
	}
	c := s.rpc(ctx, call.Method)
	sctx, span := ctx, (*telemetry.Call)(nil)
	if s.w.tracer.Carries(ctx, c.how) {
		if sctx, span = c.trace(ctx); span != nil {
			streamer = c.streams(call, span, streamer)
		}
	}
	ended := grpc.OnFinish(func(err error) { c.end(sctx, call, span, err) })
	return sctx, streamer, append(opts[:len(opts):len(opts)], ended)
}

// streams is attempts for streams.
func (c rpcCall) streams(call *balancer.Call, span *telemetry.Call, streamer grpc.Streamer) grpc.Streamer {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		ctx, a := span.Attempt(ctx)
		ctx = c.s.w.tracer.SendGRPC(ctx, telemetry.Sampled, c.s.foreign.Load())
		end := a.Once(func(err error) { c.s.endAttempt(a, call, "", rpcFailure(err)) })
		st, err := streamer(ctx, desc, cc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(end))...)
		if err != nil {
			end(err)
		}
		return st, err
	}
}

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
	return w.tracer.AcceptGRPC(ctx, func() bool { return w.stranger(security.PeerFromContext(ctx)) })
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

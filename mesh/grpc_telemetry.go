package mesh

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
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
	t, foreign := c.s.w.tracer, c.s.stranger()
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
		ctx = c.s.w.tracer.SendGRPC(ctx, telemetry.Sampled, c.s.stranger())
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

// stream is a call that ends when gRPC says so, or, if it did not begin, when end is
// called.
func (s *seen) stream(ctx context.Context, call *balancer.Call, streamer grpc.Streamer, opts []grpc.CallOption) (_ context.Context, _ grpc.Streamer, _ []grpc.CallOption, end func(error)) {
	if s == nil {
		return ctx, streamer, opts, func(error) {}
	}
	c := s.rpc(ctx, call.Method)
	sctx, span := ctx, (*telemetry.Call)(nil)
	if s.w.tracer.Carries(ctx, c.how) {
		if sctx, span = c.trace(ctx); span != nil {
			streamer = c.streams(call, span, streamer)
		}
	}
	var once sync.Once
	end = func(err error) { once.Do(func() { c.end(sctx, call, span, err) }) }
	return sctx, streamer, append(opts[:len(opts):len(opts)], grpc.OnFinish(end)), end
}

// streams is attempts for streams.
func (c rpcCall) streams(call *balancer.Call, span *telemetry.Call, streamer grpc.Streamer) grpc.Streamer {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		ctx, a := span.Attempt(ctx)
		ctx = c.s.w.tracer.SendGRPC(ctx, telemetry.Sampled, c.s.stranger())
		end := a.Once(func(err error) { c.s.endAttempt(a, call, "", rpcFailure(err)) })
		st, err := streamer(ctx, desc, cc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(end))...)
		if err != nil {
			end(err)
		}
		return st, err
	}
}

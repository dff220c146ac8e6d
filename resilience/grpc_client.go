package resilience

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// DefaultReplayLimit is the default of [GRPCClientConfig.ReplayLimit].
const DefaultReplayLimit = 256 << 10

// GRPCClientConfig is what a [GRPCClient] does. The zero value retries what is
// safe, with the defaults of [LoopConfig].
type GRPCClientConfig struct {
	// Service names the called service in Info; empty: the connection's target.
	Service string
	// Loop makes the calls; nil: one with the defaults. Share it, or its Budget,
	// between all clients of a service.
	Loop *Loop
	// Idempotent lists methods, "/pay.Pay/Get", and whole services, "/pay.Pay/",
	// that may be called twice. Empty: only those with the option idempotency_level.
	Idempotent []string
	// Classify makes the outcome of an attempt, for this client's Loop alone; nil:
	// [FromGRPC], or the balancer that has made it. To change what all go by, use
	// [LoopConfig.Classify].
	Classify func(GRPCReply) Outcome
	// ReplayLimit is how many bytes of sent messages an idempotent stream keeps, so
	// that it can be made again before the first message came back; zero: 256 KiB.
	ReplayLimit int
	// Balanced means that the policy of package balancer balances the connection, and
	// each call's context has a balancer.Call: unary attempts then take their Outcome
	// from there, and need neither trailer nor peer. False: they look themselves.
	Balanced bool
	// Report is called at the end of each call, on its goroutine; nil: no one is told.
	Report func(ctx context.Context, in *Info, r Result)
}

// GRPCClient puts a [Loop] around the calls of a gRPC connection. Its Unary and
// Stream are interceptors for stock grpc-go; [GRPCClient.DialOptions] has both.
//
// gRPC has retries of its own. Those of a service config's retryPolicy would
// multiply with these, and hide whether an attempt was sent: switch them off with
// grpc.WithDisableRetry, as DialOptions does. What remains are gRPC's transparent
// retries of streams that no server saw; they do no harm.
//
// All attempts have the call's context, and so the same balancer.Call: a picker
// that knows it avoids the endpoints already tried.
type GRPCClient struct {
	cfg        GRPCClientConfig
	loop       *Loop
	stock      bool // no Classify of its own
	idempotent *idempotency
	calls      sync.Pool // *unaryCall
}

// NewGRPCClient makes a GRPCClient. The error names the field that makes no sense.
func NewGRPCClient(cfg GRPCClientConfig) (*GRPCClient, error) {
	if cfg.ReplayLimit < 0 {
		return nil, fmt.Errorf("resilience: GRPCClientConfig.ReplayLimit is %d: it must not be negative", cfg.ReplayLimit)
	}
	if cfg.ReplayLimit == 0 {
		cfg.ReplayLimit = DefaultReplayLimit
	}
	c := &GRPCClient{loop: cfg.Loop, stock: cfg.Classify == nil}
	if c.stock {
		cfg.Classify = FromGRPC
	}
	c.cfg = cfg
	c.calls.New = func() any { return new(unaryCall) }
	var err error
	if c.idempotent, err = newIdempotency(cfg.Idempotent); err != nil {
		return nil, err
	}
	if c.loop == nil {
		if c.loop, err = NewLoop(LoopConfig{}); err != nil {
			return nil, err
		}
	}
	for _, m := range c.loop.hedge.Methods {
		if d := describe(m); d != nil && (d.IsStreamingClient() || d.IsStreamingServer()) {
			return nil, fmt.Errorf("resilience: Hedge.Methods has %q: it is a stream, and only unary calls can be hedged", m)
		}
	}
	return c, nil
}

// DialOptions are the interceptors, innermost of those given so far, and
// grpc.WithDisableRetry.
func (c *GRPCClient) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDisableRetry(),
		grpc.WithChainUnaryInterceptor(c.Unary),
		grpc.WithChainStreamInterceptor(c.Stream),
	}
}

func (c *GRPCClient) info(method string, cc *grpc.ClientConn, stream bool) Info {
	in := Info{Service: c.cfg.Service, Method: method, Idempotent: c.idempotent.of(method), Stream: stream}
	if in.Service == "" && cc != nil {
		in.Service = cc.Target()
	}
	return in
}

// report ends a call.
func (c *GRPCClient) report(ctx context.Context, in *Info, r Result) {
	if c.cfg.Report != nil {
		c.cfg.Report(ctx, in, r)
	}
}

// numbered tells the server which attempt this is.
func numbered(ctx context.Context, n int) context.Context {
	if n <= 1 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, GRPCAttemptKey, strconv.Itoa(n-1))
}

// outcome classifies an attempt. sent means that a stream was made for it.
func (c *GRPCClient) outcome(ctx context.Context, method string, cc *grpc.ClientConn, err error, sent bool, trailer metadata.MD) Outcome {
	if o, ok := refusedBelow(err); ok {
		return o
	}
	r := GRPCReply{Err: err, BytesSent: sent, BytesReceived: len(trailer) > 0, Trailer: trailer}
	if err == nil {
		r.BytesSent, r.BytesReceived = true, true
	} else {
		r.CallerEnded = CallerEnded(ctx, time.Time{})
		// With a retryPolicy an attempt that was sent may hide behind one that was not.
		r.BytesSent = sent || cc != nil && cc.GetMethodConfig(method).RetryPolicy != nil
	}
	return c.loop.judge.Judge(Ended{Method: method, Code: uint32(grpcCode(err)), Err: err}, c.cfg.Classify(r))
}

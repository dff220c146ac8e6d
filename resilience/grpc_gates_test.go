package resilience

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// ends is a gate that sends what it sees to channels.
type ends struct {
	in   chan Info
	outs chan Outcome
	err  error
}

func newEnds() *ends { return &ends{in: make(chan Info, 100), outs: make(chan Outcome, 100)} }

func (e *ends) Enter(_ context.Context, in *Info) (func(Outcome), error) {
	e.in <- *in
	if e.err != nil {
		return nil, e.err
	}
	return func(o Outcome) { e.outs <- o }, nil
}

func echo(ss pb.TestService_FullDuplexCallServer) error {
	for {
		if _, err := ss.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := ss.Send(&pb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

// both calls a unary method and a stream and gives their errors.
func both(ctx context.Context, c pb.TestServiceClient) (unary, stream error) {
	_, unary = c.UnaryCall(ctx, &pb.SimpleRequest{})
	s, stream := c.FullDuplexCall(ctx)
	if stream != nil {
		return unary, stream
	}
	if err := s.CloseSend(); err != nil {
		return unary, err
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		stream = err
	}
	return unary, stream
}

func TestGRPCGatesBothSides(t *testing.T) {
	t.Parallel()
	tap, server, client := newEnds(), newEnds(), newEnds()
	srv := &pays{unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) { return say("hi"), nil }, duplex: echo}
	gates := NewGRPCServerGates(GRPCServerConfig{Service: "pay", Tap: []Gate{tap}, Gates: []Gate{server},
		Streams: func(m string) bool { return m == duplexMethod }})
	addr := srv.serve(t, gates.ServerOptions()...)
	c := dial(t, addr, GRPCClientConfig{Service: "bare"}, NewGRPCClientGates("payments", client).DialOptions()...)
	ctx := metadata.AppendToOutgoingContext(t.Context(), PriorityKey, "sheddable", "x-user", "tester")
	if unary, stream := both(ctx, c); unary != nil || stream != nil {
		t.Fatal(unary, stream)
	}
	for name, e := range map[string]*ends{"tap": tap, "server": server, "client": client} {
		for _, method := range []string{unaryMethod, duplexMethod} {
			in, o := <-e.in, <-e.outs
			if in.Method != method || in.Stream != (method == duplexMethod) || in.Priority != Sheddable || in.Header("X-User") != "tester" {
				t.Errorf("%s: %+v", name, in)
			}
			if o.Class != Success {
				t.Errorf("%s: %s ended as %v", name, method, o.Class)
			}
			if want := map[bool]string{true: "payments", false: "pay"}[name == "client"]; in.Service != want {
				t.Errorf("%s: service %q", name, in.Service)
			}
		}
	}
}

func TestGRPCRefusals(t *testing.T) {
	t.Parallel()
	srv := &pays{unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		t.Error("the handler ran")
		return say(""), nil
	}, duplex: func(pb.TestService_FullDuplexCallServer) error { t.Error("the handler ran"); return nil }}
	in := &Info{Service: "pay"}
	for name, tt := range map[string]struct {
		err  error
		code codes.Code
	}{
		"open":        {refuse(ErrOpen, in, time.Second), codes.Unavailable},
		"throttled":   {refuse(ErrThrottled, in, 0), codes.Unavailable},
		"concurrency": {refuse(ErrConcurrency, in, 0), codes.ResourceExhausted},
		"rate":        {refuse(ErrRate, in, 250*time.Millisecond), codes.ResourceExhausted},
		"fault":       {&Refused{Reason: ErrFault, Code: 13}, codes.Internal},
		"deadline":    {context.DeadlineExceeded, codes.DeadlineExceeded},
		"status":      {status.Error(codes.Aborted, "x"), codes.Aborted},
		"other":       {errors.New("x"), codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			no := newEnds()
			no.err = tt.err
			for _, where := range []string{"tap", "server", "client"} {
				var cfg GRPCServerConfig
				var opts []grpc.DialOption
				switch where {
				case "tap":
					cfg.Tap = []Gate{no}
				case "server":
					cfg.Gates = []Gate{no}
				default:
					opts = NewGRPCClientGates("", no).DialOptions()
				}
				c := dial(t, srv.serve(t, NewGRPCServerGates(cfg).ServerOptions()...), GRPCClientConfig{Service: "bare"}, opts...)
				var trailer metadata.MD
				_, unary := c.UnaryCall(t.Context(), &pb.SimpleRequest{}, grpc.Trailer(&trailer))
				_, stream := both(t.Context(), c)
				if status.Code(unary) != tt.code || status.Code(stream) != tt.code {
					t.Errorf("%s: %v, %v", where, unary, stream)
				}
				if where == "client" && !errors.Is(unary, tt.err) {
					t.Errorf("%v hides %v", unary, tt.err)
				}
				if where == "server" && name == "rate" {
					o := FromGRPC(GRPCReply{Err: unary, BytesSent: true, BytesReceived: true, Trailer: trailer})
					if o != (Outcome{Class: Throttled, Unsent: true, RetryAfter: 251 * time.Millisecond, Code: 8}) {
						t.Errorf("the client sees %+v", o)
					}
				}
			}
		})
	}
}

// What the tap lets in leaves when the stream ends, whatever became of it.
func TestTapReleases(t *testing.T) {
	t.Parallel()
	l := newTestLimit(t, ConcurrencyConfig{Limit: 1, Shares: [Priorities]float64{1, 1, 1, 1}})
	started, gone := make(chan struct{}), make(chan struct{})
	srv := &pays{unary: func(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		started <- struct{}{}
		<-ctx.Done()
		<-gone
		return nil, ctx.Err()
	}}
	c := dial(t, srv.serve(t, NewGRPCServerGates(GRPCServerConfig{Tap: []Gate{l}}).ServerOptions()...), GRPCClientConfig{Service: "bare"})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = c.UnaryCall(ctx, &pb.SimpleRequest{}) }()
	<-started
	if _, err := c.UnaryCall(t.Context(), &pb.SimpleRequest{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second call: %v", err)
	}
	cancel()
	close(gone)
	for l.InFlight() != 0 {
		runtime.Gosched()
	}
	if _, err := c.EmptyCall(t.Context(), &pb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("after the first: %v", err)
	}
	for l.InFlight() != 0 {
		runtime.Gosched()
	}
}

// A panic in a handler or a gate is one Internal and an event with its stack; the
// gates are left and the server goes on.
func TestGRPCPanics(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	l := newTestLimit(t, ConcurrencyConfig{Limit: 1, Shares: [Priorities]float64{1, 1, 1, 1}})
	srv := &pays{
		unary:  func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) { panic("secret one") },
		duplex: func(pb.TestService_FullDuplexCallServer) error { panic("secret two") },
	}
	bad := gateFunc(func(_ context.Context, in *Info) (func(Outcome), error) {
		if in.Method == "/grpc.testing.TestService/EmptyCall" {
			panic("secret three")
		}
		return nothing, nil
	})
	cfg := GRPCServerConfig{Gates: []Gate{bad, l}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	c := dial(t, srv.serve(t, NewGRPCServerGates(cfg).ServerOptions()...), GRPCClientConfig{Service: "bare"})
	for range 3 {
		unary, stream := both(t.Context(), c)
		_, empty := c.EmptyCall(t.Context(), &pb.Empty{})
		for _, err := range []error{unary, stream, empty} {
			if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		}
	}
	got := log.String()
	if strings.Count(got, "panic.recovered") < 6 || !strings.Contains(got, "secret one") || !strings.Contains(got, "grpc_gates_test.go") || l.InFlight() != 0 {
		t.Errorf("%d in flight; events %s", l.InFlight(), got)
	}
}

func TestCaller(t *testing.T) {
	t.Parallel()
	id := &url.URL{Scheme: "spiffe", Host: "a", Path: "/b"}
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{SPIFFEID: id}})
	if got := callerOf(ctx); got != "spiffe://a/b" {
		t.Error(got)
	}
	if got := callerOf(t.Context()) + callerOf(peer.NewContext(t.Context(), &peer.Peer{})) + callerOfCerts(nil); got != "" {
		t.Error(got)
	}
}

func TestGRPCGatesAllocateLittle(t *testing.T) {
	b := newTestBreaker(t, BreakerConfig{})
	l := newTestLimit(t, ConcurrencyConfig{})
	g := NewGRPCClientGates("payments", b, l)
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() { _ = g.Unary(ctx, unaryMethod, nil, nil, nil, invoke) })
	if n > 1 && !raceEnabled { // Info
		t.Errorf("%v allocations", n)
	}
}

// syncBuffer is a bytes.Buffer for a logger and a test.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

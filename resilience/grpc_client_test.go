package resilience

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// pays is a server whose calls are functions.
type pays struct {
	pb.UnimplementedTestServiceServer
	unary  func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error)
	duplex func(pb.TestService_FullDuplexCallServer) error
}

func (s *pays) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	return s.unary(ctx, in)
}

func (s *pays) FullDuplexCall(ss pb.TestService_FullDuplexCallServer) error { return s.duplex(ss) }

const (
	unaryMethod  = "/grpc.testing.TestService/UnaryCall"
	duplexMethod = "/grpc.testing.TestService/FullDuplexCall"
)

func (s *pays) serve(t testing.TB, opts ...grpc.ServerOption) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(opts...)
	pb.RegisterTestServiceServer(srv, s)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	return l.Addr().String()
}

func dial(t testing.TB, addr string, cfg GRPCClientConfig, opts ...grpc.DialOption) pb.TestServiceClient {
	t.Helper()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if cfg.Service != "bare" {
		c, err := NewGRPCClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		opts = append(opts, c.DialOptions()...)
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewTestServiceClient(conn)
}

// eager retries without waiting.
func eager(t testing.TB, cfg LoopConfig) *Loop {
	cfg.Retry.Backoff = Backoff{Base: 1, Cap: 1}
	return newLoop(t, cfg)
}

func say(s string) *pb.SimpleResponse { return &pb.SimpleResponse{Username: s} }

func TestGRPCUnaryRetries(t *testing.T) {
	t.Parallel()
	fail := func(c codes.Code, trailer ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			if trailer != nil {
				_ = grpc.SetTrailer(ctx, metadata.Pairs(trailer...))
			}
			return status.Error(c, "as told")
		}
	}
	tests := []struct {
		name       string
		idempotent string
		fail       func(context.Context) error
		times      int // that it fails
		want       codes.Code
		calls      int
	}{
		{"cured", unaryMethod, fail(codes.Unavailable), 2, codes.OK, 3},
		{"whole service", "/grpc.testing.TestService/", fail(codes.Unavailable), 1, codes.OK, 2},
		{"not cured", unaryMethod, fail(codes.Unavailable), 9, codes.Unavailable, 3},
		{"not idempotent", "/other.Service/", fail(codes.Unavailable), 9, codes.Unavailable, 1},
		{"caller's fault", unaryMethod, fail(codes.InvalidArgument), 9, codes.InvalidArgument, 1},
		{"failure", unaryMethod, fail(codes.Internal), 9, codes.Internal, 1},
		{"pushback", unaryMethod, fail(codes.Unavailable, "grpc-retry-pushback-ms", "1"), 1, codes.OK, 2},
		{"pushback never", unaryMethod, fail(codes.Unavailable, "grpc-retry-pushback-ms", "-1"), 9, codes.Unavailable, 1},
		{"retried below", unaryMethod, fail(codes.Unavailable, RetriedKey, "1"), 9, codes.Unavailable, 1},
		{"throttled", unaryMethod, fail(codes.ResourceExhausted, "grpc-retry-pushback-ms", "1"), 1, codes.OK, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			var numbers sync.Map
			s := &pays{unary: func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
				n := int(calls.Add(1))
				numbers.Store(n, strings.Join(metadata.ValueFromIncomingContext(ctx, GRPCAttemptKey), ","))
				if n <= tt.times {
					return nil, tt.fail(ctx)
				}
				return say("fine"), nil
			}}
			c := dial(t, s.serve(t), GRPCClientConfig{Loop: eager(t, LoopConfig{}), Idempotent: []string{tt.idempotent}})
			var finished atomic.Int64
			reply, err := c.UnaryCall(t.Context(), &pb.SimpleRequest{}, grpc.OnFinish(func(error) { finished.Add(1) }))
			if status.Code(err) != tt.want || int(calls.Load()) != tt.calls || err == nil && reply.Username != "fine" {
				t.Errorf("%v, %v after %d calls; want %v after %d", reply, err, calls.Load(), tt.want, tt.calls)
			}
			if finished.Load() != 1 {
				t.Errorf("OnFinish was called %d times", finished.Load())
			}
			for n, want := range map[int]string{1: "", 2: "1", 3: "2"} {
				if got, ok := numbers.Load(n); ok && got != want {
					t.Errorf("call %d had %s %q, want %q", n, GRPCAttemptKey, got, want)
				}
			}
		})
	}
}

// What an attempt left in the caller's places is gone when the next one fills them.
func TestGRPCUnaryRepliesDoNotMix(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	s := &pays{unary: func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		if calls.Add(1) == 1 {
			_ = grpc.SetHeader(ctx, metadata.Pairs("first", "1"))
			_ = grpc.SetTrailer(ctx, metadata.Pairs("first", "1"))
			return nil, status.Error(codes.Unavailable, "as told")
		}
		_ = grpc.SetTrailer(ctx, metadata.Pairs("second", "1"))
		return say("second"), nil
	}}
	c := dial(t, s.serve(t), GRPCClientConfig{Loop: eager(t, LoopConfig{}), Idempotent: []string{unaryMethod}})
	var header, trailer metadata.MD
	var p peer.Peer
	reply, err := c.UnaryCall(t.Context(), &pb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&p))
	if err != nil || reply.Username != "second" || header["first"] != nil || trailer["first"] != nil || trailer["second"] == nil || p.Addr == nil {
		t.Errorf("%v, %v, header %v, trailer %v, peer %v", reply, err, header, trailer, p.Addr)
	}
}

// Nothing was sent to an address where nobody listens: safe for every call.
func TestGRPCUnsentIsRetried(t *testing.T) {
	t.Parallel()
	var results []Result
	cfg := GRPCClientConfig{Loop: eager(t, LoopConfig{}), Report: func(_ context.Context, in *Info, r Result) {
		results = append(results, r)
		if in.Service != "passthrough:///gone" || in.Method != unaryMethod {
			t.Errorf("reported %+v", in)
		}
	}}
	refuse := grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("refused") })
	c := dial(t, "gone", cfg, refuse)
	_, err := c.UnaryCall(t.Context(), &pb.SimpleRequest{})
	if status.Code(err) != codes.Unavailable || len(results) != 1 || results[0].Attempts != 3 || !results[0].Outcome.Unsent {
		t.Errorf("%v, %+v", err, results)
	}
}

// With a retryPolicy of gRPC's own, a pick that fails may hide an attempt that was sent.
func TestGRPCRetryPolicyHidesUnsent(t *testing.T) {
	t.Parallel()
	sc := `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":2,"initialBackoff":"0.001s","maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
	var got Result
	cfg := GRPCClientConfig{Loop: eager(t, LoopConfig{}), Report: func(_ context.Context, _ *Info, r Result) { got = r }}
	refuse := grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("refused") })
	c := dial(t, "gone", cfg, refuse, grpc.WithDefaultServiceConfig(sc))
	if _, err := c.UnaryCall(t.Context(), &pb.SimpleRequest{}); err == nil || got.Attempts != 1 || got.Outcome.Unsent {
		t.Errorf("%v, %+v", err, got)
	}
}

// Hedged attempts never share a reply; the race detector watches. Each loser is cancelled.
func TestGRPCHedges(t *testing.T) {
	t.Parallel()
	const callers, each = 4, 5
	var began [callers * each]chan struct{} // the first attempt of a call is at the server
	for i := range began {
		began[i] = make(chan struct{})
	}
	lost := make(chan struct{}, len(began))
	s := &pays{unary: func(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		id := in.ResponseSize
		if len(metadata.ValueFromIncomingContext(ctx, GRPCAttemptKey)) == 0 { // first attempts hang
			close(began[id])
			<-ctx.Done()
			lost <- struct{}{}
			return nil, ctx.Err()
		}
		<-began[id]
		_ = grpc.SetTrailer(ctx, metadata.Pairs("from", "hedge"))
		return say(strconv.Itoa(int(id))), nil
	}}
	budget := newBudget(t, BudgetConfig{Ratio: 1, HedgeRatio: 1, Reserve: 1e6})
	loop := eager(t, LoopConfig{Budget: budget, Hedge: Hedge{Enabled: true, Delay: time.Millisecond}, Timeout: NoTimeout})
	c := dial(t, s.serve(t), GRPCClientConfig{Loop: loop, Idempotent: []string{unaryMethod}})
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range each {
				id := caller*each + i
				var trailer, header metadata.MD
				var p peer.Peer
				reply, err := c.UnaryCall(t.Context(), &pb.SimpleRequest{ResponseSize: int32(id)}, grpc.Trailer(&trailer), grpc.Header(&header), grpc.Peer(&p))
				if err != nil || reply.Username != strconv.Itoa(id) || len(trailer["from"]) != 1 || header == nil || p.Addr == nil {
					t.Errorf("call %d: %v, %v, trailer %v", id, reply, err, trailer)
				}
			}
		})
	}
	wg.Wait()
	for range began {
		<-lost
	}
}

func TestGRPCConfigIsChecked(t *testing.T) {
	t.Parallel()
	hedge := newLoop(t, LoopConfig{Hedge: Hedge{Enabled: true, Methods: []string{duplexMethod}}})
	for want, cfg := range map[string]GRPCClientConfig{
		"GRPCClientConfig.ReplayLimit": {ReplayLimit: -1},
		"GRPCClientConfig.Idempotent":  {Idempotent: []string{"UnaryCall"}},
		"Hedge.Methods":                {Loop: hedge},
	} {
		if _, err := NewGRPCClient(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that names %s", err, want)
		}
	}
}

func TestGRPCUnaryAllocs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // earlier than the default
	defer cancel()
	c, err := NewGRPCClient(GRPCClientConfig{Service: "pay", Idempotent: []string{unaryMethod}})
	if err != nil {
		t.Fatal(err)
	}
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	req, reply := &pb.SimpleRequest{}, &pb.SimpleResponse{}
	opts := []grpc.CallOption{grpc.StaticMethod()}
	n := testing.AllocsPerRun(100, func() { _ = c.Unary(ctx, unaryMethod, req, reply, nil, invoke, opts...) })
	if n > 1 {
		t.Errorf("%v allocations for a call that is not repeated, at most 1", n)
	}
}

func BenchmarkGRPCUnary(b *testing.B) {
	s := &pays{unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) { return say("fine"), nil }}
	addr := s.serve(b)
	for _, name := range []string{"bare", "retry"} {
		b.Run(name, func(b *testing.B) {
			c := dial(b, addr, GRPCClientConfig{Service: name, Idempotent: []string{unaryMethod}})
			ctx, cancel := context.WithTimeout(b.Context(), 29*time.Second)
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.UnaryCall(ctx, &pb.SimpleRequest{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestGRPCStream(t *testing.T) {
	t.Parallel()
	say := func(n int) *pb.StreamingOutputCallRequest {
		return &pb.StreamingOutputCallRequest{Payload: &pb.Payload{Body: make([]byte, n)}}
	}
	tests := []struct {
		name     string
		cfg      GRPCClientConfig
		failures int  // streams that the server ends before a message
		late     bool // it fails after the first message
		sizes    []int
		want     codes.Code
		streams  int
	}{
		{name: "plain", cfg: GRPCClientConfig{Idempotent: []string{duplexMethod}}, sizes: []int{1, 2, 3}, want: codes.OK, streams: 1},
		{name: "replayed", cfg: GRPCClientConfig{Idempotent: []string{duplexMethod}}, failures: 2, sizes: []int{1, 2, 3}, want: codes.OK, streams: 3},
		{name: "all attempts", cfg: GRPCClientConfig{Idempotent: []string{duplexMethod}}, failures: 9, sizes: []int{1}, want: codes.Unavailable, streams: 3},
		{name: "not idempotent", failures: 9, sizes: []int{1}, want: codes.Unavailable, streams: 1},
		{name: "beyond the limit", cfg: GRPCClientConfig{Idempotent: []string{duplexMethod}, ReplayLimit: 100}, failures: 9, sizes: []int{50, 60}, want: codes.Unavailable, streams: 1},
		{name: "after the first message", cfg: GRPCClientConfig{Idempotent: []string{duplexMethod}}, late: true, sizes: []int{1, 2}, want: codes.Unavailable, streams: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var streams, finished, reports atomic.Int64
			s := &pays{duplex: func(ss pb.TestService_FullDuplexCallServer) error {
				n := int(streams.Add(1))
				for first := true; ; first = false {
					in, err := ss.Recv()
					if err == io.EOF {
						if n <= tt.failures {
							return status.Error(codes.Unavailable, "as told")
						}
						return nil
					}
					if err != nil || tt.late && !first {
						return status.Error(codes.Unavailable, "late")
					}
					if n <= tt.failures {
						continue
					}
					if err := ss.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: in.Payload.Body}}); err != nil {
						return err
					}
				}
			}}
			tt.cfg.Loop = eager(t, LoopConfig{})
			tt.cfg.Report = func(context.Context, *Info, Result) { reports.Add(1) }
			c := dial(t, s.serve(t), tt.cfg)
			st, err := c.FullDuplexCall(t.Context(), grpc.OnFinish(func(error) { finished.Add(1) }))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range tt.sizes {
				if err := st.Send(say(n)); err != nil && err != io.EOF {
					t.Fatal(err)
				}
			}
			_ = st.CloseSend()
			var got []int
			for {
				var m *pb.StreamingOutputCallResponse
				if m, err = st.Recv(); err != nil {
					break
				}
				got = append(got, len(m.Payload.Body))
			}
			if err == io.EOF {
				err = nil
			}
			if status.Code(err) != tt.want || int(streams.Load()) != tt.streams {
				t.Errorf("%v after %d streams, want %v after %d", err, streams.Load(), tt.want, tt.streams)
			}
			if tt.want == codes.OK && len(got) != len(tt.sizes) {
				t.Errorf("got %v of %v", got, tt.sizes)
			}
			if finished.Load() != 1 || reports.Load() != 1 {
				t.Errorf("OnFinish was called %d times, Report %d times", finished.Load(), reports.Load())
			}
		})
	}
}

// A stream that hears nothing is begun anew, and one that spoke once may be silent.
func TestGRPCStreamFirstMessage(t *testing.T) {
	t.Parallel()
	var streams atomic.Int64
	s := &pays{duplex: func(ss pb.TestService_FullDuplexCallServer) error {
		if streams.Add(1) == 1 {
			<-ss.Context().Done()
			return ss.Context().Err()
		}
		if err := ss.Send(&pb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
		_, err := ss.Recv() // the caller speaks when the timeout is long over
		if err != nil {
			return err
		}
		return ss.Send(&pb.StreamingOutputCallResponse{})
	}}
	loop := eager(t, LoopConfig{Retry: Retry{Attempts: 50, AttemptTimeout: 200 * time.Millisecond}, Budget: newBudget(t, BudgetConfig{Reserve: 100})})
	c := dial(t, s.serve(t), GRPCClientConfig{Loop: loop, Idempotent: []string{duplexMethod}})
	st, err := c.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recv(); err != nil || streams.Load() < 2 {
		t.Fatalf("%v after %d streams, want a later one to speak", err, streams.Load())
	}
	over := time.NewTimer(300 * time.Millisecond)
	defer over.Stop()
	select {
	case <-over.C:
	case <-st.Context().Done():
	}
	if err := st.Send(&pb.StreamingOutputCallRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := st.Recv(); err != nil {
		t.Errorf("the timeout of the first message ended the stream: %v", err)
	}
}

// A sender that waits for the server does not keep the receiver from receiving.
func TestGRPCStreamBothWays(t *testing.T) {
	t.Parallel()
	s := &pays{duplex: func(ss pb.TestService_FullDuplexCallServer) error {
		for range 100 { // speaks first, and much, before it listens
			if err := ss.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: make([]byte, 10<<10)}}); err != nil {
				return err
			}
		}
		for {
			if _, err := ss.Recv(); err != nil {
				return nil
			}
		}
	}}
	c := dial(t, s.serve(t), GRPCClientConfig{Idempotent: []string{duplexMethod}, ReplayLimit: 1 << 30})
	st, err := c.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 100 {
			if err := st.Send(&pb.StreamingOutputCallRequest{Payload: &pb.Payload{Body: make([]byte, 10<<10)}}); err != nil {
				t.Error(err)
			}
		}
		_ = st.CloseSend()
	})
	n := 0
	for ; ; n++ {
		if _, err = st.Recv(); err != nil {
			break
		}
	}
	wg.Wait()
	if n != 100 || err != io.EOF {
		t.Errorf("%d messages, then %v", n, err)
	}
}

// The second attempt leaves nothing in the caller's places; the first one's leavings must not show.
func TestGRPCUnaryForgetsAFailedAttempt(t *testing.T) {
	t.Parallel()
	c, err := NewGRPCClient(GRPCClientConfig{Loop: eager(t, LoopConfig{}), Idempotent: []string{unaryMethod}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	invoke := func(_ context.Context, _ string, _, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
		if n++; n > 1 {
			return nil
		}
		reply.(*pb.SimpleResponse).Username = "half a reply"
		for _, o := range opts {
			switch o := o.(type) {
			case grpc.HeaderCallOption:
				*o.HeaderAddr = metadata.Pairs("first", "1")
			case grpc.TrailerCallOption:
				*o.TrailerAddr = metadata.Pairs("first", "1")
			case grpc.PeerCallOption:
				o.PeerAddr.Addr = &net.TCPAddr{}
			}
		}
		return status.Error(codes.Unavailable, "as told")
	}
	var header, trailer metadata.MD
	var p peer.Peer
	reply := new(pb.SimpleResponse)
	err = c.Unary(t.Context(), unaryMethod, &pb.SimpleRequest{}, reply, nil, invoke, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&p))
	if err != nil || n != 2 || reply.Username != "" || header != nil || trailer != nil || p.Addr != nil {
		t.Errorf("%v after %d attempts: reply %v, header %v, trailer %v, peer %v", err, n, reply, header, trailer, p.Addr)
	}
}

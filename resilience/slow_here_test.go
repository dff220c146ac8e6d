package resilience

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// slow is a gate that has seen a method take an hour, and lets no probe in.
func slow(t testing.TB, method string) *DeadlineGate {
	t.Helper()
	g := gate(t, DeadlineConfig{})
	g.seen.of(method).mid.Store(int64(time.Hour))
	g.last.Store(int64(24 * time.Hour))
	return g
}

// A server that is too slow for a request says that it has done nothing: another one
// gets it, also if it may not be made twice, within the budget.
func TestTooSlowHereGoesElsewhere(t *testing.T) {
	t.Parallel()
	broke := LoopConfig{Budget: newBudget(t, BudgetConfig{Ratio: tiny, Reserve: tiny})}
	t.Run("grpc", func(t *testing.T) {
		t.Parallel()
		g := slow(t, unaryMethod)
		var calls, tries atomic.Int64
		s := &pays{unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
			calls.Add(1)
			return say("fine"), nil
		}}
		turns := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			if tries.Add(1) == 3 { // the third attempt is at a server that is fast
				g.seen.of(unaryMethod).mid.Store(0)
			}
			return h(ctx, req)
		})
		c := dial(t, s.serve(t, append([]grpc.ServerOption{turns}, inboundOptions(InboundConfig{Deadline: g})...)...), GRPCClientConfig{Loop: eager(t, LoopConfig{})})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := c.UnaryCall(ctx, &pb.SimpleRequest{}); err != nil || calls.Load() != 1 || tries.Load() != 3 {
			t.Errorf("%v; %d attempts, %d were served", err, tries.Load(), calls.Load())
		}
	})
	t.Run("without a budget", func(t *testing.T) {
		t.Parallel()
		var tries atomic.Int64
		turns := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			tries.Add(1)
			return h(ctx, req)
		})
		opts := append([]grpc.ServerOption{turns}, inboundOptions(InboundConfig{Deadline: slow(t, unaryMethod)})...)
		c := dial(t, (&pays{}).serve(t, opts...), GRPCClientConfig{Loop: eager(t, broke)})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := c.UnaryCall(ctx, &pb.SimpleRequest{}); status.Code(err) != codes.DeadlineExceeded || tries.Load() != 1 {
			t.Errorf("%v after %d attempts, want one: where all are slow, each would be asked", err, tries.Load())
		}
	})
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		g := slow(t, http.MethodPost)
		calls, tries := 0, 0
		in := NewHTTPInbound(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }), InboundConfig{Deadline: g})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tries++; tries == 3 {
				g.seen.of(http.MethodPost).mid.Store(0)
			}
			in.ServeHTTP(w, r)
		}))
		defer srv.Close()
		next := &http.Transport{}
		defer next.CloseIdleConnections()
		l := eager(t, LoopConfig{})
		c, err := NewHTTPClient(next, HTTPClientConfig{LoopFor: func(string) *Loop { return l }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || calls != 1 || tries != 3 {
			t.Errorf("status %d; %d attempts, %d were served", resp.StatusCode, tries, calls)
		}
	})
}

func TestTooSlowHereIsUnsent(t *testing.T) {
	t.Parallel()
	md := lateMark(errors.Join(ErrDeadlineShort, errSlowHere))
	err := status.Error(codes.DeadlineExceeded, "x")
	if o := FromGRPC(GRPCReply{Err: err, BytesSent: true, BytesReceived: true, Trailer: md}); o != (Outcome{Class: Retryable, Unsent: true, Code: 4}) {
		t.Errorf("gRPC: %+v", o)
	}
	if o := FromGRPC(GRPCReply{Err: err, BytesSent: true, BytesReceived: true, Trailer: lateMark(ErrDeadlineShort)}); o.Unsent || o.RetryAfter >= 0 {
		t.Errorf("gRPC, too late for all: %+v", o)
	}
	if o := FromGRPC(GRPCReply{Err: status.Error(codes.Unavailable, "x"), BytesSent: true, Trailer: metadata.MD{RefusedKey: {"1"}}}); o.Unsent {
		t.Errorf("gRPC, another code: %+v", o)
	}
	resp := func(code int) *http.Response {
		return &http.Response{StatusCode: code, Header: http.Header{http.CanonicalHeaderKey(RefusedKey): {"1"}}}
	}
	if o := FromHTTP(resp(504), nil, false); o != (Outcome{Class: Retryable, Unsent: true, Code: 504}) {
		t.Errorf("HTTP: %+v", o)
	}
	if o := FromHTTP(resp(502), nil, false); o.Unsent {
		t.Errorf("HTTP, another status: %+v", o)
	}
}

package resilience

import (
	"context"
	"io"
	"net/http"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"
)

// created is how many goroutines the process has ever started.
func created(t *testing.T) uint64 {
	t.Helper()
	s := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		t.Fatal("the runtime does not count goroutines")
	}
	return s[0].Value.Uint64()
}

// A call starts no goroutine if nothing needs one: not for its timeout, not for a
// hedge that is armed and not sent, and not in any gate. It must not run beside
// other tests, so it is not parallel.
func TestNoGoroutinePerCall(t *testing.T) {
	const calls = 1000
	loop := newLoop(t, LoopConfig{
		Timeout: time.Minute,
		Retry:   Retry{AttemptTimeout: 30 * time.Second},
		Hedge:   Hedge{Enabled: true, Delay: 20 * time.Second},
	})
	limit := newTestLimit(t, ConcurrencyConfig{})
	breakers, err := NewBreakerSet(BreakerConfig{SlowCall: time.Minute}, 0)
	if err != nil {
		t.Fatal(err)
	}
	rate, err := NewRateLimit(RateConfig{PerSecond: 1e9, ByMethod: true})
	if err != nil {
		t.Fatal(err)
	}
	throttle, err := NewThrottle(ThrottleConfig{})
	if err != nil {
		t.Fatal(err)
	}
	deadline, err := NewDeadlineGate(DeadlineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	gates := []Gate{throttle, rate, limit, breakers, deadline}

	client, err := NewGRPCClient(GRPCClientConfig{Service: "pay", Loop: loop, Idempotent: []string{unaryMethod}})
	if err != nil {
		t.Fatal(err)
	}
	around := NewGRPCClientGates("pay", gates...)
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	inner := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		return client.Unary(ctx, method, req, reply, cc, invoke, opts...)
	}
	web, err := NewHTTPClient(answers{}, HTTPClientConfig{LoopFor: func(string) *Loop { return loop }})
	if err != nil {
		t.Fatal(err)
	}
	server := NewGRPCServerGates(GRPCServerConfig{Gates: gates})
	inbound := NewGRPCInbound(InboundConfig{Deadline: deadline})
	handler := func(context.Context, any) (any, error) { return nil, nil }
	info := &grpc.UnaryServerInfo{FullMethod: unaryMethod}
	for name, call := range map[string]func() error{
		"grpc client": func() error {
			return around.Unary(t.Context(), unaryMethod, &pb.SimpleRequest{}, &pb.SimpleResponse{}, nil, inner)
		},
		"http client": func() error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://pay/", nil)
			if err != nil {
				return err
			}
			resp, err := web.RoundTrip(req)
			if err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.Body.Close()
		},
		"grpc server": func() error {
			_, err := server.Unary(t.Context(), nil, info, func(ctx context.Context, req any) (any, error) {
				return inbound.Unary(ctx, req, info, handler)
			})
			return err
		},
	} {
		if err := call(); err != nil { // what is made once
			t.Fatalf("%s: %v", name, err)
		}
		before := created(t)
		for range calls {
			if err := call(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if n := created(t) - before; n > calls/20 { // the runtime has a few of its own
			t.Errorf("%s: %d goroutines for %d calls", name, n, calls)
		}
	}
}

// answers is a server without a network.
type answers struct{}

func (answers) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("yes")), Request: req}, nil
}

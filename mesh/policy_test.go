package mesh

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
)

// flaky fails every call with a code that another endpoint may cure.
type flaky struct {
	grpc_testing.UnimplementedTestServiceServer
	calls atomic.Int64
	bad   bool
}

func (f *flaky) answer() error {
	f.calls.Add(1)
	if f.bad {
		return status.Error(codes.Unavailable, "out of order")
	}
	return nil
}

func (f *flaky) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, f.answer()
}

func (f *flaky) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{}, f.answer()
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if f.answer() != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// two is a service of two instances, one of which is out of order.
func two(t *testing.T, protocol string, caller Config) (m *Mesh, good, bad *flaky) {
	t.Helper()
	e := embedded(t)
	good, bad = &flaky{}, &flaky{bad: true}
	for id, f := range map[string]*flaky{"good": good, "bad": bad} {
		reg := watched{e.Catalog, make(chan struct{}), func() {}}
		server := member(t, Config{Service: "pay", InstanceID: id, Embedded: e, Registrar: reg, Propagation: -1})
		if protocol == "http" {
			serve(t, server, httpServerOf(t, server, f.ServeHTTP))
		} else {
			srv := server.NewGRPCServer()
			grpc_testing.RegisterTestServiceServer(srv, f)
			serve(t, server, srv)
		}
		<-reg.registered
	}
	caller.Service, caller.Embedded = "caller", e
	caller.Balancer = balancer.Config{Policy: balancer.RoundRobin{}} // goes to the bad one in turn
	return member(t, caller), good, bad
}

const emptyCall = "/grpc.testing.TestService/EmptyCall"

func TestSafeCallsAreRepeatedElsewhere(t *testing.T) {
	t.Parallel()
	generous := resilience.BudgetConfig{Reserve: 1000}
	t.Run("grpc", func(t *testing.T) {
		t.Parallel()
		m, good, bad := two(t, "grpc", Config{Policy: ServicePolicy{Idempotent: []string{emptyCall}, Budget: generous}})
		client := dial(t, m, "pay")
		for range 40 {
			if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
				t.Fatal(err)
			}
		}
		if good.calls.Load() != 40 || bad.calls.Load() == 0 {
			t.Errorf("%d attempts at the good one, %d at the bad one", good.calls.Load(), bad.calls.Load())
		}
		// UnaryCall does not say that it may be made twice: it fails, after one attempt.
		before := good.calls.Load() + bad.calls.Load()
		failed := 0
		for range 40 {
			if _, err := client.UnaryCall(bound(t), &grpc_testing.SimpleRequest{}); status.Code(err) == codes.Unavailable {
				failed++
			}
		}
		if made := good.calls.Load() + bad.calls.Load() - before; made != 40 || failed == 0 {
			t.Errorf("40 calls that must not be repeated made %d attempts, %d failed", made, failed)
		}
	})
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		m, good, bad := two(t, "http", Config{Policy: ServicePolicy{Budget: generous}})
		do := func(method string) int {
			req, err := http.NewRequestWithContext(bound(t), method, "http://pay/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := m.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		for range 40 {
			if code := do(http.MethodGet); code != http.StatusOK {
				t.Fatalf("GET: %d", code)
			}
		}
		if good.calls.Load() != 40 || bad.calls.Load() == 0 {
			t.Errorf("%d attempts at the good one, %d at the bad one", good.calls.Load(), bad.calls.Load())
		}
		before := good.calls.Load() + bad.calls.Load()
		for range 40 {
			do(http.MethodPost)
		}
		if made := good.calls.Load() + bad.calls.Load() - before; made != 40 {
			t.Errorf("40 POSTs made %d attempts", made)
		}
	})
}

// All calls of a service have one loop, so that gRPC and HTTP share its budget.
func TestOneLoopPerService(t *testing.T) {
	t.Parallel()
	m := member(t, Config{Service: "caller"})
	if m.policies.loop("pay") != m.policies.loop("pay") {
		t.Error("two calls of one service have two loops")
	}
	if m.policies.loop("pay") == m.policies.loop("stock") {
		t.Error("two services have one loop")
	}
}

func TestPolicyOfAService(t *testing.T) {
	t.Parallel()
	m, good, bad := two(t, "grpc", Config{
		Policy:   ServicePolicy{Retry: resilience.Retry{Attempts: 1}, Idempotent: []string{emptyCall}},
		Services: map[string]ServicePolicy{"pay": {Idempotent: []string{emptyCall}, Budget: resilience.BudgetConfig{Reserve: 1000}}},
	})
	client := dial(t, m, "pay")
	for range 10 {
		if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
			t.Fatalf("the service's own policy did not count: %v", err)
		}
	}
	if good.calls.Load() != 10 || bad.calls.Load() == 0 {
		t.Errorf("%d and %d attempts", good.calls.Load(), bad.calls.Load())
	}
}

func TestBadPolicyIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"timeout":  {Config{Policy: ServicePolicy{Timeout: -1}}, "Config.Policy: resilience: LoopConfig.Timeout"},
		"attempts": {Config{Policy: ServicePolicy{Retry: resilience.Retry{Attempts: -1}}}, "Retry.Attempts"},
		"budget":   {Config{Services: map[string]ServicePolicy{"pay": {Budget: resilience.BudgetConfig{Ratio: 2}}}}, `Config.Services["pay"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Service = "caller"
			_, err := Join(t.Context(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not name %s", err, tt.want)
			}
		})
	}
	m := member(t, Config{Service: "caller", Policy: ServicePolicy{Idempotent: []string{"Get"}}})
	if _, err := m.Dial("pay"); err == nil || !strings.Contains(err.Error(), "Get") {
		t.Errorf("a method that no gRPC method can be: %v", err)
	}
}

// A call without a deadline gets the policy's.
func TestTimeoutOfAPolicy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policy   ServicePolicy
		min, max time.Duration // of the deadline; 0: none
	}{
		"default": {ServicePolicy{}, 20 * time.Second, 30 * time.Second},
		"own":     {ServicePolicy{Timeout: time.Hour}, 50 * time.Minute, time.Hour},
		"none":    {ServicePolicy{Timeout: resilience.NoTimeout}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := member(t, Config{Service: "caller", Policy: tt.policy})
			var got time.Duration
			r := m.policies.loop("pay").Do(context.Background(), &resilience.Info{Service: "pay"}, resilience.AttemptFunc(func(ctx context.Context, _ int) resilience.Outcome {
				if end, ok := ctx.Deadline(); ok {
					got = time.Until(end)
				}
				return resilience.Outcome{Class: resilience.Success}
			}))
			r.End()
			if got < tt.min || got > tt.max {
				t.Errorf("a call has %v, want %v to %v", got, tt.min, tt.max)
			}
		})
	}
}

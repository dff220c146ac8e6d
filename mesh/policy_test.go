package mesh

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// flaky fails every call with a code that another endpoint may cure.
type flaky struct {
	grpc_testing.UnimplementedTestServiceServer
	calls atomic.Int64
	bad   bool
}

// serve runs f on a server of m, "http" or gRPC.
func (f *flaky) serve(t testing.TB, m *Mesh, protocol string) {
	t.Helper()
	if protocol == "http" {
		serve(t, m, httpServerOf(t, m, f.ServeHTTP))
		return
	}
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, f)
	serve(t, m, srv)
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

func (f *flaky) FullDuplexCall(grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	return f.answer()
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
		f.serve(t, server, protocol)
		<-reg.registered
	}
	caller.Service, caller.Embedded = "caller", e
	caller.Balancer = balancer.Config{Policy: balancer.RoundRobin{}} // goes to the bad one in turn
	return member(t, caller), good, bad
}

// meet makes calls until both instances have had one, so that both are connected,
// and forgets them.
func meet(t *testing.T, good, bad *flaky, call func()) {
	t.Helper()
	for ctx := bound(t); good.calls.Load() == 0 || bad.calls.Load() == 0; call() {
		if ctx.Err() != nil {
			t.Fatal("one instance gets no calls")
		}
	}
	good.calls.Store(0)
	bad.calls.Store(0)
}

const emptyCall = "/grpc.testing.TestService/EmptyCall"

func TestSafeCallsAreRepeatedElsewhere(t *testing.T) {
	t.Parallel()
	// Without eyes on the endpoints, so that the bad one stays in use.
	blind := ServicePolicy{Budget: resilience.BudgetConfig{Reserve: 1000}, NoOutlier: true, NoBreaker: true}
	blind.Idempotent = []string{emptyCall}
	t.Run("grpc", func(t *testing.T) {
		t.Parallel()
		m, good, bad := two(t, "grpc", Config{Policy: blind})
		client := dial(t, m, "pay")
		meet(t, good, bad, func() { _, _ = client.EmptyCall(bound(t), &grpc_testing.Empty{}) })
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
		m, good, bad := two(t, "http", Config{Policy: blind})
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
		meet(t, good, bad, func() { do(http.MethodGet) })
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
	if first, again := m.to.of("pay"), m.to.of("pay"); first != again {
		t.Error("two calls of one service have two loops")
	}
	if m.to.of("pay").way.loop == m.to.of("stock").way.loop {
		t.Error("two services have one loop")
	}
}

func TestPolicyOfAService(t *testing.T) {
	t.Parallel()
	m, good, bad := two(t, "grpc", Config{
		Policy:   ServicePolicy{Retry: resilience.Retry{Attempts: 1}, Idempotent: []string{emptyCall}},
		Services: map[string]ServicePolicy{"pay": {Idempotent: []string{emptyCall}, Budget: resilience.BudgetConfig{Reserve: 1000}, NoOutlier: true, NoBreaker: true}},
	})
	client := dial(t, m, "pay")
	meet(t, good, bad, func() { _, _ = client.EmptyCall(bound(t), &grpc_testing.Empty{}) })
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
		"methods":  {Config{Policy: ServicePolicy{Idempotent: []string{"Get"}}}, "GRPCClientConfig.Idempotent"},
		"outlier":  {Config{Policy: ServicePolicy{Outlier: resilience.OutlierConfig{FailurePercent: 120}}}, "OutlierConfig.FailurePercent"},
		"breaker":  {Config{Policy: ServicePolicy{Breaker: resilience.BreakerConfig{FailureRatio: 1.5}}}, "BreakerConfig.FailureRatio"},
		"throttle": {Config{Policy: ServicePolicy{Throttle: &resilience.ThrottleConfig{K: 0.5}}}, "ThrottleConfig.K"},
		"rate":     {Config{Policy: ServicePolicy{Rate: &resilience.RateConfig{PerSecond: -1}}}, "RateConfig.PerSecond"},
		"places":   {Config{Policy: ServicePolicy{Concurrency: &resilience.ConcurrencyConfig{Limit: -1}}}, "ConcurrencyConfig.Limit"},
		"gate":     {Config{Policy: ServicePolicy{Gates: []resilience.Gate{nil}}}, "Config.Policy: mesh: Gates[0]"},
		"inbound":  {Config{Inbound: InboundPolicy{Concurrency: &resilience.ConcurrencyConfig{Limit: -1}}}, "Config.Inbound: resilience: ConcurrencyConfig.Limit"},
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
			r := m.to.of("pay").way.loop.Do(context.Background(), &resilience.Info{Service: "pay"}, resilience.AttemptFunc(func(ctx context.Context, _ int) resilience.Outcome {
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

// An endpoint that fails is left alone, although calls that may not be repeated
// cannot be helped in time.
func TestOutlierIsLeftAlone(t *testing.T) {
	t.Parallel()
	var log logged
	policy := ServicePolicy{NoBreaker: true, Outlier: resilience.OutlierConfig{BaseEjection: time.Hour}} // longer than the test
	m, _, bad := two(t, "grpc", Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Policy: policy})
	client := dial(t, m, "pay")
	failed := 0
	for ctx := bound(t); failed < 5 && ctx.Err() == nil; {
		if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
			failed++
		}
	}
	for range 100 {
		if _, err := client.UnaryCall(bound(t), &grpc_testing.SimpleRequest{}); err != nil {
			failed++
		}
	}
	if n := bad.calls.Load(); n != 5 || failed != 5 {
		t.Errorf("the bad endpoint got %d calls, %d failed; want the 5 in a row that eject it", n, failed)
	}
	if !strings.Contains(log.String(), "msg=endpoint.ejected service=pay") {
		t.Errorf("no event: %s", log.String())
	}
}

// A cloud in which the service fails as a whole is left for another.
func TestBreakerMovesCallsToAnotherCloud(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	here, there := &flaky{bad: true}, &flaky{}
	for cloud, f := range map[string]*flaky{"here": here, "there": there} {
		reg := watched{e.Catalog, make(chan struct{}), func() {}}
		server := member(t, Config{Service: "pay", InstanceID: cloud, Locality: resolver.Locality{Cloud: cloud}, Embedded: e, Registrar: reg, Propagation: -1})
		srv := server.NewGRPCServer()
		grpc_testing.RegisterTestServiceServer(srv, f)
		serve(t, server, srv)
		<-reg.registered
	}
	var log logged
	caller := member(t, Config{
		Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "here"},
		Logger: slog.New(slog.NewTextHandler(&log, nil)), Policy: ServicePolicy{NoOutlier: true},
	})
	client := dial(t, caller, "pay")
	for ctx := bound(t); ctx.Err() == nil; {
		if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err == nil {
			break
		}
	}
	if n := here.calls.Load(); n < 20 || there.calls.Load() != 1 {
		t.Errorf("%d calls stayed in the cloud that fails, then %d went elsewhere; want 20 or more, which open the breaker", n, there.calls.Load())
	}
	for _, want := range []string{"msg=breaker.opened service=pay cloud=here", "msg=failover.started service=pay from=here/-/- to=there/-/-"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no event %q: %s", want, log.String())
		}
	}
}

package mesh

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// diary writes down what a call passes, in order.
type diary struct {
	mu   sync.Mutex
	list []string
}

func (d *diary) write(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, what)
}

// take returns what was written, and begins anew.
func (d *diary) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.list = nil }()
	return strings.Join(d.list, " ")
}

func (d *diary) see(l layer) resilience.Gate { return entered{d, l} }

// entered is a gate that says so.
type entered struct {
	d *diary
	l layer
}

func (e entered) Enter(ctx context.Context, in *resilience.Info) (func(resilience.Outcome), error) {
	e.d.write(e.l.name)
	return e.l.gate.Enter(ctx, in)
}

// pickNoted is round robin that says when it picks.
type pickNoted struct{ d *diary }

func (p pickNoted) NewPicker(s balancer.Set, _ balancer.Picker) balancer.Picker {
	return pickerNoted{p.d, balancer.RoundRobin{}.NewPicker(s, nil)}
}

type pickerNoted struct {
	d *diary
	balancer.Picker
}

func (p pickerNoted) Pick(c *balancer.Call) *balancer.Node {
	p.d.write("pick")
	return p.Picker.Pick(c)
}

// handler fails its first call, says when it is reached, and sees its deadline.
type handler struct {
	grpc_testing.UnimplementedTestServiceServer
	d     *diary
	mu    sync.Mutex
	fails int
}

func (h *handler) answer() error {
	h.d.write("handler")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails--; h.fails >= 0 {
		return status.Error(codes.Unavailable, "not yet")
	}
	return nil
}

func (h *handler) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, h.answer()
}

func (h *handler) FullDuplexCall(grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	return h.answer()
}

func (h *handler) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if h.answer() != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// always is a gate that lets everything in.
type always struct{}

func (always) Enter(context.Context, *resilience.Info) (func(resilience.Outcome), error) {
	return func(resilience.Outcome) {}, nil
}

// The order of layers, for a call whose first attempt fails. Stock gRPC and HTTP
// pass the same.
func TestOrderOfLayers(t *testing.T) {
	t.Parallel()
	const (
		call    = "fault throttle rate places gates"
		attempt = "pick cloud-fault rate places gates handler"
		want    = call + " " + attempt + " " + attempt
	)
	e := embedded(t)
	d := &diary{}
	h := &handler{d: d}
	fault, err := resilience.NewFault(resilience.FaultConfig{})
	if err != nil {
		t.Fatal(err)
	}
	in := InboundPolicy{Rate: &resilience.RateConfig{PerSecond: 1e6}, Concurrency: &resilience.ConcurrencyConfig{}, Gates: []resilience.Gate{always{}}}
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	server := member(t, Config{Service: "pay", Locality: resolver.Locality{Cloud: "aws"}, Embedded: e, Registrar: reg, Propagation: -1, Inbound: in, see: d.see})
	srv := server.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, h)
	serve(t, server, srv)
	<-reg.registered
	reg = watched{e.Catalog, make(chan struct{}), func() {}}
	web := member(t, Config{Service: "web", Locality: resolver.Locality{Cloud: "aws"}, Embedded: e, Registrar: reg, Propagation: -1, Inbound: in, see: d.see})
	serve(t, web, httpServerOf(t, web, h.ServeHTTP))
	<-reg.registered

	caller := member(t, Config{Service: "caller", Embedded: e, Balancer: balancer.Config{Policy: pickNoted{d}}, see: d.see, Policy: ServicePolicy{
		Fault: fault, Throttle: &resilience.ThrottleConfig{}, Rate: &resilience.RateConfig{PerSecond: 1e6},
		Concurrency: &resilience.ConcurrencyConfig{Limit: 100}, Gates: []resilience.Gate{always{}},
		Idempotent: []string{"/grpc.testing.TestService/"},
	}})
	client := dial(t, caller, "pay")
	stream := func() error {
		s, err := client.FullDuplexCall(bound(t))
		if err != nil {
			return err
		}
		if _, err = s.Recv(); errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	for _, tt := range []struct {
		name string
		call func() error
	}{
		{"unary", func() error {
			_, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true))
			return err
		}},
		{"stream", stream},
		{"http", func() error { _, err := get(bound(t), caller, "http://web/"); return err }},
	} {
		for range 2 { // the first makes the connection
			h.mu.Lock()
			h.fails = 1
			h.mu.Unlock()
			d.take()
			if err := tt.call(); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		got := strings.ReplaceAll(d.take(), "cloud fault", "cloud-fault")
		// gRPC picks for an attempt again if the node that was chosen has gone.
		if words := slices.Compact(strings.Fields(got)); strings.Join(words, " ") != want {
			t.Errorf("%s passed\n%s\nwant\n%s", tt.name, got, want)
		}
	}
}

// A fault of one cloud hits the attempts that go there: the call goes to another
// one. A fault without a cloud hits the call.
func TestFaultsOfAService(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"unary", "stream", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			fault, err := resilience.NewFault(resilience.FaultConfig{})
			if err != nil {
				t.Fatal(err)
			}
			call, here, there := twoClouds(t, protocol, ServicePolicy{Fault: fault, Idempotent: []string{"/grpc.testing.TestService/"}})
			if err := call(); err != nil || here.Load() != 1 {
				t.Fatalf("without a fault: %v, %d calls here", err, here.Load())
			}
			set := func(rules ...resilience.FaultRule) {
				t.Helper()
				if err := fault.Set(rules); err != nil {
					t.Fatal(err)
				}
			}
			set(resilience.FaultRule{Cloud: "here", Percent: 100, Code: int(codes.Unavailable), Status: 503})
			err = call()
			for ctx := bound(t); errors.Is(err, resilience.ErrFault) && ctx.Err() == nil; {
				err = call() // the other cloud is not connected yet
			}
			if err != nil || here.Load() != 1 || there.Load() != 1 {
				t.Errorf("a fault of this cloud: %v, %d calls here and %d there; want one each", err, here.Load(), there.Load())
			}
			set(resilience.FaultRule{Percent: 100, Code: int(codes.Unavailable), Status: 503})
			if err := call(); !errors.Is(err, resilience.ErrFault) {
				t.Errorf("a fault of the call: %v", err)
			}
			if here.Load() != 1 || there.Load() != 1 {
				t.Errorf("%d calls here and %d there: the call was repeated or sent", here.Load(), there.Load())
			}
			fault.Kill()
			if err := call(); err != nil {
				t.Errorf("after Kill: %v", err)
			}
		})
	}
}

// Limits that a service's policy names refuse in this process.
func TestLimitsOfAService(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"unary", "stream", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			call, here, _ := twoClouds(t, protocol, ServicePolicy{Rate: &resilience.RateConfig{PerSecond: 1e-3, Burst: 2}})
			for range 2 {
				if err := call(); err != nil {
					t.Fatal(err)
				}
			}
			if err := call(); !errors.Is(err, resilience.ErrRate) {
				t.Errorf("the third call: %v", err)
			}
			if n := here.Load(); n != 2 {
				t.Errorf("%d calls reached the service, want 2", n)
			}
		})
	}
}

package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resilience"
)

type panicking struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (panicking) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	panic("broken handler")
}

func (panicking) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{}, nil
}

// A handler that panics fails its own call only, and says so in the log.
func TestPanicIsOneFailedCall(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	var log logged
	server := member(t, Config{Service: "pay", Embedded: e, Propagation: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	srv := server.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, panicking{})
	serve(t, server, srv)
	caller := member(t, Config{Service: "caller", Embedded: e})
	client := dial(t, caller, "pay")
	if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true)); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "broken") {
		t.Errorf("the caller got %v, want Internal without what broke", err)
	}
	if _, err := client.UnaryCall(bound(t), &grpc_testing.SimpleRequest{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if !strings.Contains(log.String(), "panic.recovered") {
		t.Errorf("no event: %s", log.String())
	}
}

// full refuses everything.
type full struct{}

func (full) Enter(context.Context, *resilience.Info) (func(resilience.Outcome), error) {
	return nil, resilience.ErrConcurrency
}

func TestInboundGates(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	server := member(t, Config{Service: "pay", Embedded: e, Propagation: -1, Inbound: InboundPolicy{Gates: []resilience.Gate{full{}}}})
	h := &echo{entered: make(chan struct{}, 1)}
	for _, srv := range []any{
		grpcServer(server, h),
		httpServerOf(t, server, func(http.ResponseWriter, *http.Request) { h.entered <- struct{}{} }),
	} {
		serve(t, server, srv)
	}
	caller := member(t, Config{Service: "caller", Embedded: e, Policy: ServicePolicy{Retry: resilience.Retry{Attempts: 1}}})
	if _, err := dial(t, caller, "pay").EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("gRPC: %v", err)
	}
	for {
		req, err := http.NewRequestWithContext(bound(t), http.MethodGet, "http://pay/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := caller.HTTPClient().Do(req)
		if err != nil {
			continue // not announced yet
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("HTTP: %s", resp.Status)
		}
		break
	}
	if len(h.entered) > 0 {
		t.Error("a handler was reached")
	}
}

// The deadline of a caller reaches an HTTP handler, as it does a gRPC handler.
func TestDeadlineReachesHTTPHandler(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	server := member(t, Config{Service: "pay", Embedded: e, Registrar: reg, Propagation: -1})
	serve(t, server, httpServerOf(t, server, func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Context().Deadline(); !ok {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = w.Write([]byte("has one"))
	}))
	<-reg.registered
	caller := member(t, Config{Service: "caller", Embedded: e})
	if body, err := get(bound(t), caller, "http://pay/"); err != nil || body != "has one" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestBadInboundPolicyIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Join(t.Context(), Config{Service: "pay", Inbound: InboundPolicy{Deadline: resilience.DeadlineConfig{Min: -1}}})
	var me *Error
	if !errors.As(err, &me) || !strings.Contains(err.Error(), "DeadlineConfig.Min") {
		t.Errorf("error %v", err)
	}
}

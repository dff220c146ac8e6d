package mesh

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
)

// stale answers that it is behind, which others take for the caller's fault.
type stale struct {
	grpc_testing.UnimplementedTestServiceServer
	calls atomic.Int64
	bad   bool
}

func (s *stale) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	if s.calls.Add(1); s.bad {
		return nil, status.Error(codes.FailedPrecondition, "behind")
	}
	return &grpc_testing.Empty{}, nil
}

func (s *stale) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if s.calls.Add(1); s.bad {
		w.WriteHeader(http.StatusPreconditionFailed)
	}
}

// A service's own classification is made once for each attempt, and retries and
// outlier detection go by it.
func TestClassifierOfAService(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			ejected := make(chan string, 1)
			policy := ServicePolicy{
				Idempotent: []string{emptyCall},
				Budget:     resilience.BudgetConfig{Reserve: 1000},
				Outlier: resilience.OutlierConfig{OnEvent: func(ev resilience.OutlierEvent) {
					if ev.Kind == resilience.Ejected {
						ejected <- ev.Endpoint
					}
				}},
				Classify: func(e resilience.Ended, o resilience.Outcome) resilience.Outcome {
					asked.Add(1)
					if e.Code == uint32(codes.FailedPrecondition) || e.Status == http.StatusPreconditionFailed {
						o.Class = resilience.Retryable
					}
					return o
				},
			}
			e := embedded(t)
			good, bad := &stale{}, &stale{bad: true}
			for id, s := range map[string]*stale{"good": good, "bad": bad} {
				reg := watched{e.Catalog, make(chan struct{}), func() {}}
				server := member(t, Config{Service: "pay", InstanceID: id, Embedded: e, Registrar: reg, Propagation: -1})
				if protocol == "http" {
					serve(t, server, httpServerOf(t, server, s.ServeHTTP))
				} else {
					srv := server.NewGRPCServer()
					grpc_testing.RegisterTestServiceServer(srv, s)
					serve(t, server, srv)
				}
				<-reg.registered
			}
			m := member(t, Config{Service: "caller", Embedded: e, Policy: policy, Balancer: balancer.Config{Policy: balancer.RoundRobin{}}})
			call := func() error {
				resp, err := m.HTTPClient().Get("http://pay/")
				if err == nil {
					if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
						err = errors.New(resp.Status)
					}
				}
				return err
			}
			if protocol == "grpc" {
				client := dial(t, m, "pay")
				call = func() error {
					_, err := client.EmptyCall(bound(t), &grpc_testing.Empty{})
					return err
				}
			}
			for out := false; !out; {
				both := good.calls.Load() > 0 // before it there may be nobody else to go to
				if err := call(); err != nil && both {
					t.Fatal(err)
				}
				select {
				case who := <-ejected:
					if out = true; !strings.Contains(who, "bad") {
						t.Errorf("%s was ejected", who)
					}
				case <-bound(t).Done():
					t.Fatal("nobody is ejected")
				default:
				}
			}
			if made := good.calls.Load() + bad.calls.Load(); asked.Load() != made {
				t.Errorf("%d attempts were classified %d times", made, asked.Load())
			}
		})
	}
}

package mesh

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resilience"
)

// A service config that asks gRPC to retry adds nothing to what the policy does:
// three attempts of each would be nine.
func TestGRPCRetriesAreNotMultiplied(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	f := &flaky{bad: true}
	server := member(t, Config{Service: "pay", Embedded: e, Propagation: -1})
	srv := server.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, f)
	serve(t, server, srv)
	m := member(t, Config{Service: "caller", Embedded: e, Policy: ServicePolicy{
		Idempotent: []string{emptyCall}, Budget: resilience.BudgetConfig{Reserve: 1000}, NoOutlier: true, NoBreaker: true,
	}})
	conn, err := m.Dial("pay", grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"weft":{}}],"methodConfig":[{"name":[{}],"retryPolicy":{
		"maxAttempts":3,"initialBackoff":"0.001s","maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_testing.NewTestServiceClient(conn)
	for f.calls.Load() == 0 { // until the service is found
		_, _ = client.EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true))
	}
	f.calls.Store(0)
	if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); status.Code(err) != codes.Unavailable || f.calls.Load() != 3 {
		t.Errorf("%v after %d attempts, want 3", err, f.calls.Load())
	}
}

// What a gRPC connection would refuse is refused when the mesh is joined.
func TestBadGRPCPolicyIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	const stream = "/grpc.testing.TestService/FullDuplexCall"
	for want, p := range map[string]ServicePolicy{
		"Idempotent":    {Idempotent: []string{"EmptyCall"}},
		"Hedge.Methods": {Hedge: resilience.Hedge{Enabled: true, Methods: []string{stream}}},
	} {
		_, err := Join(bound(t), Config{Service: "caller", Services: map[string]ServicePolicy{"pay": p}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `Services["pay"]`) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

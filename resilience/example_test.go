package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weft-mesh/weft/resilience"
)

// A Loop repeats what is safe to repeat, whatever the transport.
func ExampleLoop() {
	loop, err := resilience.NewLoop(resilience.LoopConfig{
		Timeout: 2 * time.Second,
		Retry:   resilience.Retry{Attempts: 3, Backoff: resilience.Backoff{Base: time.Millisecond}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	in := &resilience.Info{Service: "inventory", Method: "/inventory.Inventory/Get", Idempotent: true}
	r := loop.Do(context.Background(), in, resilience.AttemptFunc(func(_ context.Context, n int) resilience.Outcome {
		if n == 1 {
			return resilience.Outcome{Class: resilience.Retryable}
		}
		return resilience.Outcome{Class: resilience.Success}
	}))
	r.End()
	fmt.Println(r.Outcome.Class, "after", r.Attempts, "attempts")
	// Output: success after 2 attempts
}

// An http.Client whose safe requests survive a server that fails for a moment.
func ExampleHTTPClient() {
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "attempt %s", req.Header.Get(resilience.AttemptKey))
	}))
	defer srv.Close()

	retrying, err := resilience.NewHTTPClient(srv.Client().Transport, resilience.HTTPClientConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	web := &http.Client{Transport: retrying}
	resp, err := web.Get(srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body), err)
	// Output: 200 attempt 2 <nil>
}

// A gRPC connection with retries, hedges and deadlines. All clients of a service
// share its Budget.
func ExampleGRPCClient() {
	budgets, err := resilience.NewBudgetStore(resilience.BudgetConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	loop, err := resilience.NewLoop(resilience.LoopConfig{
		Hedge:  resilience.Hedge{Enabled: true, Methods: []string{"/inventory.Inventory/Get"}},
		Budget: budgets.For("inventory"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := resilience.NewGRPCClient(resilience.GRPCClientConfig{
		Service:    "inventory",
		Loop:       loop,
		Idempotent: []string{"/inventory.Inventory/Get"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	opts := append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("dns:///inventory:8443", opts...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	fmt.Println(conn.Target(), budgets.For("inventory").Status().Left)
	// Output: dns:///inventory:8443 100
}

// A policy that makes no sense is refused where it is given.
func ExampleNewLoop_invalid() {
	_, err := resilience.NewLoop(resilience.LoopConfig{Retry: resilience.Retry{Attempts: -1}})
	fmt.Println(err)
	_, err = resilience.NewBudget(resilience.BudgetConfig{Ratio: 1.5})
	fmt.Println(err)
	// Output:
	// resilience: Retry.Attempts is -1: it must be from 1 to 100, or 0 for 3
	// resilience: BudgetConfig.Ratio is 1.5: it must be from 0 to 1
}

// A server refuses what is too late to be of use.
func ExampleDeadlineGate() {
	gate, err := resilience.NewDeadlineGate(resilience.DeadlineConfig{Min: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err = gate.Enter(ctx, &resilience.Info{Method: "/inventory.Inventory/Get"})
	fmt.Println(errors.Is(err, resilience.ErrDeadlineShort))
	// Output: true
}

// Command opa lets an engine of one's own have the last word: a policy in Rego,
// evaluated in the process, is asked about each call that the intentions allow. It
// is a module of its own and no part of "make test", because OPA takes minutes to
// build; run it here with "go run .".
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

//go:embed policy.rego
var policy string

// engine is an authz.External that runs a Rego policy.
type engine struct{ query rego.PreparedEvalQuery }

func newEngine(ctx context.Context) (*engine, error) {
	q, err := rego.New(rego.Query("data.weft.allow"), rego.Module("policy.rego", policy)).PrepareForEval(ctx)
	return &engine{q}, err
}

// Authorize implements authz.External. What is not a clear yes is a no.
func (e *engine) Authorize(ctx context.Context, r *authz.Request) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	input := map[string]any{"caller": r.Caller.String(), "method": r.Method, "path": r.Path}
	result, err := e.query.Eval(ctx, rego.EvalInput(input))
	if err != nil {
		return err
	}
	if !result.Allowed() {
		return errors.New("the Rego policy does not allow it")
	}
	return nil
}

func run(ctx context.Context) error {
	e, err := newEngine(ctx)
	if err != nil {
		return err
	}
	a, err := authz.New(authz.Config{
		Scope:    authz.Scope{Service: "payments", TrustDomain: "mesh.example"},
		Sources:  []authz.Source{authz.Static{Default: authz.Allow}}, // in a mesh: Consul's intentions
		External: e,                                                  // in a mesh: Config.Authorization.External
	})
	if err != nil {
		return err
	}
	defer func() { _ = a.Close(ctx) }() // no source has a goroutine
	for _, call := range []struct {
		caller, path string
		want         bool
	}{
		{"order", "/payment.Payment/Charge", true},
		{"web", "/payment.Payment/Charge", false},
		{"web", "/payment.Payment/Price", true},
	} {
		id, err := spiffeid.FromString("spiffe://mesh.example/ns/default/dc/eu/svc/" + call.caller)
		if err != nil {
			return err
		}
		d := a.Admit(ctx, &authz.Request{Caller: security.PeerID{ID: id}, Protocol: "grpc", Method: "POST", Path: call.path})
		fmt.Printf("%-5s %-24s allowed=%v\n", call.caller, call.path, d.Allowed)
		if d.Allowed != call.want {
			return fmt.Errorf("%s %s: want allowed=%v", call.caller, call.path, call.want)
		}
	}
	fmt.Println("opa: ok")
	return nil
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "opa:", err)
		os.Exit(1)
	}
}

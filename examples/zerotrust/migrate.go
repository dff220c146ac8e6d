package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weft-mesh/weft/examples/internal/pay"
	"github.com/weft-mesh/weft/examples/internal/scene"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security/authz"
)

// migrate moves a service into the mesh whose callers are not all members yet: while
// permissive mode lasts, plaintext is taken, counted and named; after, refused.
func migrate(ctx, serving context.Context, s *scene.Scene, w *town, p pace) (accepted, refused uint64, err error) {
	member, err := w.join(ctx, mesh.Config{Service: "order", InstanceID: "order-to-ledger", Locality: regions["eu"]})
	if err != nil {
		return 0, 0, err
	}
	conn, err := member.Dial("ledger")
	if err != nil {
		return 0, 0, err
	}
	until := time.Now().Add(p.permissive)
	ledger, err := w.join(ctx, mesh.Config{
		Service: "ledger", Locality: regions["eu"], Permissive: until,
		Authorization: mesh.AuthorizationConfig{Rules: authz.Rules{Default: authz.Allow}},
	})
	if err != nil {
		return 0, 0, err
	}
	rpc, web, err := w.both(serving, ledger)
	if err != nil {
		return 0, 0, err
	}
	old := map[string]func() error{
		"gRPC": func() error { return plainRPC(ctx, rpc) },
		"HTTP": func() error { return plainHTTP(ctx, web) },
	}
	s.Say("ledger joins; an old job still calls it in plaintext: permissive mode takes that for %v", p.permissive)
	for kind, call := range old {
		if err := eventually(ctx, call); err != nil {
			return 0, 0, fmt.Errorf("plaintext %s in permissive mode: %w", kind, err)
		}
	}
	mutual := func() error {
		_, err := pay.NewPaymentsClient(conn).Quote(ctx, &pay.QuoteRequest{})
		return err
	}
	if err := eventually(ctx, mutual); err != nil {
		return 0, 0, fmt.Errorf("mutual TLS in permissive mode: %w", err)
	}
	for _, c := range ledger.PlaintextCallers() {
		s.Say("  who still speaks plaintext: %v, %d connections; members speak mutual TLS on the same port", c.Addr, c.Accepted)
	}
	select {
	case <-time.After(time.Until(until)):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	for kind, call := range old {
		if call() == nil {
			return 0, 0, fmt.Errorf("plaintext %s was served after the end of permissive mode", kind)
		}
	}
	if err := mutual(); err != nil {
		return 0, 0, fmt.Errorf("mutual TLS after permissive mode: %w", err)
	}
	for _, c := range ledger.PlaintextCallers() {
		accepted, refused = accepted+c.Accepted, refused+c.Refused
	}
	if accepted < 2 || refused < 2 {
		return 0, 0, errors.New("the plaintext connections were not counted")
	}
	s.Say("its end date has passed: the old job is refused and counted, members go on")
	return accepted, refused, nil
}

func plainRPC(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = pay.NewPaymentsClient(conn).Quote(ctx, &pay.QuoteRequest{})
	return err
}

func plainHTTP(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/charge", strings.NewReader("1"))
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	return answered(client.Do(req))
}

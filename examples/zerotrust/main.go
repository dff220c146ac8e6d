// Zerotrust is who may call what, in one process, without Consul: an intention and a
// condition over a token, the caller's region and the time; calls that are allowed
// and calls that are refused, over gRPC and HTTP; identities that rotate under
// load; and a service that is migrated from plaintext.
//
//	go run ./examples/zerotrust
//
// It exits with 0 only if everything that it claims held.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/examples/internal/scene"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, pace{callers: 4, rotations: 20, every: 100 * time.Millisecond, permissive: 2 * time.Second}); err != nil {
		fmt.Fprintln(os.Stderr, "zerotrust: failed:", err)
		os.Exit(1)
	}
}

// pace is how much is done, and how fast.
type pace struct {
	callers    int // of each kind
	rotations  int
	every      time.Duration // between two rotations
	permissive time.Duration
}

var regions = map[string]resolver.Locality{
	"eu": {Cloud: "eu", Region: "eu-west-1"},
	"us": {Cloud: "us", Region: "us-east-1"},
}

func run(ctx context.Context, p pace) error {
	s := scene.New([]string{"gRPC", "HTTP"}, []string{"eu"})
	dir, err := os.MkdirTemp("", "weft-zerotrust-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	people, err := newStaff()
	if err != nil {
		return err
	}
	rules := filepath.Join(dir, "policy.yaml")
	if err := people.office(rules, true); err != nil {
		return err
	}
	log := func(level slog.Level) *slog.Logger {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
	embedded, err := mesh.NewEmbedded(log(slog.LevelWarn))
	if err != nil {
		return err
	}
	w := &town{embedded: embedded}
	serving, stop := context.WithCancel(ctx)
	defer w.end()
	defer stop()

	s.Say("three services start: payment, order (in the EU, and one in the US) and web; each has an identity of its own")
	payment, err := w.join(ctx, mesh.Config{
		Service: "payment", Locality: regions["eu"], Logger: log(slog.LevelError), // its refusals are warnings, and wanted here
		Authorization: mesh.AuthorizationConfig{PolicyFile: rules, Localities: regions},
	})
	if err != nil {
		return err
	}
	if _, _, err := w.both(serving, payment); err != nil {
		return err
	}
	callers := map[string]*caller{}
	for name, cfg := range map[string]mesh.Config{
		"order":    {Service: "order", Locality: regions["eu"]},
		"order us": {Service: "order", Locality: regions["us"]},
		"web":      {Service: "web", Locality: regions["eu"]},
	} {
		if callers[name], err = w.caller(ctx, cfg); err != nil {
			return err
		}
	}
	if err := rulesHold(ctx, s, people, callers, rules); err != nil {
		return err
	}
	agent, err := people.token("agent")
	if err != nil {
		return err
	}
	total, failed, err := rotate(ctx, s, w, callers["order"].with(agent), p)
	if err != nil {
		return err
	}
	accepted, refused, err := migrate(ctx, serving, s, w, p)
	if err != nil {
		return err
	}
	fmt.Printf("zerotrust: ok calls=%d failed=%d rotations=%d plaintext_accepted=%d plaintext_refused=%d\n", total, failed, p.rotations, accepted, refused)
	return nil
}

// rulesHold tries what the policy allows and what it does not.
func rulesHold(ctx context.Context, s *scene.Scene, people *staff, callers map[string]*caller, rules string) error {
	tokens := map[string]string{"": ""}
	for _, role := range []string{"agent", "intern"} {
		var err error
		if tokens[role], err = people.token(role); err != nil {
			return err
		}
	}
	forger, err := newStaff()
	if err != nil {
		return err
	}
	if tokens["forged"], err = forger.token("agent"); err != nil {
		return err
	}
	if err := eventually(ctx, func() error { return callers["order"].with(tokens["agent"]).expect(ctx, true) }); err != nil {
		return err // it takes a moment until payment is found
	}
	s.Say("the policy: only order may charge, only for an agent, only from the EU, only in office hours (by UTC they are now)")
	for _, step := range []struct {
		caller, token string
		allowed       bool
		text          string
	}{
		{"order", "agent", true, "order in the EU, for an agent: charged"},
		{"order", "intern", false, "order for an intern: refused"},
		{"order", "forged", false, "order with a forged token: refused"},
		{"order", "", false, "order without a token: refused"},
		{"order us", "agent", false, "order in the US, for an agent: refused"},
		{"web", "agent", false, "web, for an agent: refused, by the intention"},
	} {
		if err := callers[step.caller].with(tokens[step.token]).expect(ctx, step.allowed); err != nil {
			return err
		}
		s.Say("  gRPC and HTTP  %s", step.text)
	}
	for _, open := range []bool{false, true} {
		if err := people.office(rules, open); err != nil {
			return err
		}
		if err := eventually(ctx, func() error { return callers["order"].with(tokens["agent"]).expect(ctx, open) }); err != nil {
			return fmt.Errorf("office open %v: %w", open, err)
		}
		s.Say("the policy file is changed, the office is open: %v; order's agent is answered by that, nothing was restarted", open)
	}
	return nil
}

// rotate exchanges every member's identity again and again while calls run.
func rotate(ctx context.Context, s *scene.Scene, w *town, order *caller, p pace) (total, failed int, err error) {
	call := func(f func(context.Context) error) scene.Call {
		return func(ctx context.Context) (string, error) { return "eu", f(ctx) }
	}
	s.Start(ctx, p.callers, map[string]scene.Call{"gRPC": call(order.rpc), "HTTP": call(order.http)})
	s.Say("order calls without pause while all identities are exchanged %d times", p.rotations)
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for i := range p.rotations {
		for _, svid := range w.svids {
			if err := svid.Rotate(); err != nil {
				s.Stop()
				return 0, 0, err
			}
		}
		// A member that comes now shakes hands with what there is now.
		if i == p.rotations-1 {
			late, err := w.caller(ctx, mesh.Config{Service: "order", InstanceID: "late", Locality: regions["eu"]})
			if err == nil {
				err = eventually(ctx, func() error { return late.with(order.token).expect(ctx, true) })
			}
			if err != nil {
				s.Stop()
				return 0, 0, fmt.Errorf("after the rotations: %w", err)
			}
		}
		<-tick.C
	}
	s.Stop()
	total, failed = s.Board.Totals()
	if failed > 0 || total == 0 {
		return 0, 0, fmt.Errorf("%d of %d calls failed during rotations, the last with: %w", failed, total, s.Board.LastError())
	}
	s.Say("%d calls, %d failed", total, failed)
	return total, failed, nil
}

// Quickstart is a mesh over three clouds in one process, without Consul and
// without root: gRPC and HTTP calls over mutual TLS, then one cloud dies, and
// returns.
//
//	go run ./examples/quickstart
//
// It exits with 0 only if no call that is safe to repeat failed and everything
// that it claims held.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/examples/internal/demo"
	"github.com/weft-mesh/weft/examples/internal/scene"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

var clouds = []string{"aws", "gcp", "azure"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, pace{callers: 8, steady: 1500 * time.Millisecond, outage: 2 * time.Second}); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart: failed:", err)
		os.Exit(1)
	}
}

// pace is how much traffic runs, and how long the scenes last at least.
type pace struct {
	callers        int // of each kind
	steady, outage time.Duration
}

func run(ctx context.Context, p pace) error {
	s := scene.New([]string{"gRPC", "HTTP"}, clouds)
	s.Say("three clouds start: %v, each with payments (gRPC) and inventory (HTTP), %d instances each", clouds, instances)
	embedded, err := mesh.NewEmbedded(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	running := map[string]*cloud{}
	for _, name := range clouds {
		c := &cloud{name: name, embedded: embedded, addrs: map[string][]string{}}
		if err := c.start(ctx); err != nil {
			return fmt.Errorf("cloud %s: %w", name, err)
		}
		running[name] = c
		defer func() { c.kill() }()
	}

	m, err := mesh.Join(ctx, mesh.Config{
		Service:  "checkout",
		Locality: resolver.Locality{Cloud: "aws", Region: "aws-region-1"},
		Embedded: embedded,
		// The default waits 10 s before it trusts a cloud that came back.
		Balancer: balancer.Config{CloudOrder: clouds, FailbackAfter: time.Second},
	})
	if err != nil {
		return err
	}
	defer m.Leave(context.Background())
	calls, _, err := demo.Calls(m)
	if err != nil {
		return err
	}
	s.Say("checkout joined in aws; every connection is mutual TLS 1.3 between SPIFFE identities")
	for kind, call := range calls {
		if _, err := call(ctx); err != nil {
			return fmt.Errorf("first %s call: %w", kind, err)
		}
	}
	if err := strangersRefused(ctx, running["aws"]); err != nil {
		return err
	}
	s.Say("a caller without an identity and a caller of another CA were refused, on gRPC and HTTP")

	s.Start(ctx, p.callers, calls)
	s.Say("calls run: they stay in checkout's own cloud while it has capacity")
	if !s.Watch(p.steady, time.Minute, s.At("aws")) {
		return errors.New("calls did not stay in the caller's cloud")
	}

	s.Say("aws dies: listeners and connections are cut, the catalog still names them")
	took := s.Failover("aws", running["aws"].kill)
	if !s.Watch(p.outage, time.Minute, s.At("gcp")) {
		return errors.New("calls did not move to the next cloud in order")
	}
	failover := took()
	_, failed := s.Board.Totals()
	s.Say("calls moved to gcp, the next in order; done %v after the kill; the mesh repeated those in flight, %d failed", failover, failed)

	if err := running["aws"].start(ctx); err != nil {
		return fmt.Errorf("restart of aws: %w", err)
	}
	s.Say("aws is back: it must stay healthy for 1 s, then its share returns step by step")
	if !s.Watch(p.steady, time.Minute, s.At("aws")) {
		return errors.New("calls did not return to the caller's cloud")
	}
	s.Say("all calls are home again")
	s.Stop()

	total, failed := s.Board.Totals()
	if failed > 0 {
		return fmt.Errorf("%d of %d calls failed, the last with: %w", failed, total, s.Board.LastError())
	}
	fmt.Printf("quickstart: ok calls=%d failed=%d clouds=%d failover=%dms\n", total, failed, len(clouds), failover.Milliseconds())
	return nil
}

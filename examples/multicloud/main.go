// Multicloud is the scene of the quick start on real Consul: three federated
// datacenters, identities from the Connect CA of each, services in processes of
// their own. A cloud's services are killed; then a cloud's Consul server is.
//
//	go run ./examples/multicloud
//
// The first run builds Consul from its Go module, which takes minutes and is
// shown. The example exits with 0 only if no call that is safe to repeat failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/examples/internal/demo"
	"github.com/weft-mesh/weft/examples/internal/scene"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

var clouds = []string{"aws", "gcp", "azure"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, pace{callers: 8, scene: 2 * time.Second}); err != nil {
		fmt.Fprintln(os.Stderr, "multicloud: failed:", err)
		os.Exit(1)
	}
}

// pace is how much traffic runs, and how long the scenes last at least.
type pace struct {
	callers int // of each kind
	scene   time.Duration
}

// run tells the story, or, in a process that the story started, runs a cloud's services.
func run(ctx context.Context, p pace) error {
	if role := os.Getenv(roleEnv); role != "" {
		return serve(ctx, role)
	}
	return play(ctx, p)
}

func play(ctx context.Context, pace pace) error {
	s := scene.New([]string{"gRPC", "HTTP"}, clouds)
	s.Say("three Consul datacenters start and federate: %v", clouds)
	agents, err := consultest.Federate(ctx, consultest.Config{Progress: os.Stdout}, clouds...)
	if err != nil {
		return err
	}
	running := map[string]*cloudProcess{}
	for i, a := range agents {
		defer a.Stop()
		running[clouds[i]] = &cloudProcess{cloud: clouds[i], consul: a.HTTPAddr()}
	}
	s.Say("federated; services start, one process a cloud, each announced in its own datacenter")
	for _, p := range running {
		defer p.kill()
		if err := p.start(ctx); err != nil {
			return fmt.Errorf("cloud %s: %w", p.cloud, err)
		}
	}
	tmp, err := os.MkdirTemp("", "weft-multicloud-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	cfg := mesh.Config{
		Service:  "checkout",
		Locality: resolver.Locality{Cloud: "aws"},
		Clouds: []consul.Config{
			{Name: "aws", Address: agents[0].HTTPAddr()},
			{Name: "gcp", Address: agents[0].HTTPAddr(), Datacenter: "gcp"}, // through the federation
			{Name: "azure", Address: agents[2].HTTPAddr()},                  // by its own agent
		},
		SnapshotDir: filepath.Join(tmp, "snapshots"),
		// The default waits 10 s before it trusts a cloud that came back.
		Balancer: balancer.Config{CloudOrder: clouds, FailbackAfter: time.Second},
	}
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		return err
	}
	defer m.Leave(context.Background())
	calls, _, err := demo.Calls(m)
	if err != nil {
		return err
	}
	for kind, call := range calls {
		cctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := call(cctx)
		cancel()
		if err != nil {
			return fmt.Errorf("first %s call: %w", kind, err)
		}
	}
	s.Say("checkout joined in aws with an identity of its Connect CA; calls run")
	s.Start(ctx, pace.callers, calls)
	if !s.Watch(pace.scene, time.Minute, s.At("aws")) {
		return errors.New("calls did not stay in the caller's cloud")
	}

	s.Say("the services of aws are killed (SIGKILL); Consul still lists them")
	took := s.Failover("aws", running["aws"].kill)
	if !s.Watch(pace.scene, time.Minute, s.At("gcp")) {
		return errors.New("calls did not move to the next cloud in order")
	}
	failover := took()
	_, failed := s.Board.Totals()
	s.Say("calls moved to gcp; done %v after the kill; the mesh repeated those in flight, %d failed", failover, failed)

	if err := running["aws"].start(ctx); err != nil {
		return fmt.Errorf("restart of aws: %w", err)
	}
	s.Say("the services of aws are back")
	if !s.Watch(pace.scene, time.Minute, s.At("aws")) {
		return errors.New("calls did not return to the caller's cloud")
	}

	before, failed := s.Board.Totals()
	s.Say("the Consul server of aws is killed: checkout's own agent, catalog and CA")
	agents[0].Kill()
	if !s.Watch(pace.scene*3/2, time.Minute, s.At("aws")) {
		return errors.New("calls did not stay while Consul was down")
	}
	if err := restarted(ctx, cfg); err != nil {
		return fmt.Errorf("a checkout started while Consul is down: %w", err)
	}
	s.Say("a second checkout started while Consul is down, from the snapshot on disk, and its calls went through")
	s.Stop()
	after, failedAfter := s.Board.Totals()
	s.Say("%d calls without Consul, %d failed", after-before, failedAfter-failed)

	if failedAfter > 0 {
		return fmt.Errorf("%d of %d calls failed, the last with: %w", failedAfter, after, s.Board.LastError())
	}
	fmt.Printf("multicloud: ok calls=%d failed=%d clouds=%d failover=%dms consul-down-failed=%d\n",
		after, failedAfter, len(clouds), failover.Milliseconds(), failedAfter-failed)
	return nil
}

// restarted is a new process's start, in all that matters: nothing of the running
// member's memory is used, only its snapshots.
func restarted(ctx context.Context, cfg mesh.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		return err
	}
	defer m.Leave(context.Background())
	calls, _, err := demo.Calls(m)
	if err != nil {
		return err
	}
	for kind, call := range calls {
		if _, err := call(ctx); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

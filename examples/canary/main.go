// Canary is a release on a real Consul: two versions of two services, one called
// over gRPC and one over HTTP, and a service-splitter that is rewritten while calls
// run. The new version then breaks, and is taken out by the guard of the caller.
//
//	go run ./examples/canary
//
// The first run builds Consul from its Go module, which takes minutes and is
// shown. The example exits with 0 only if no change cost a call, the shares were
// those that were written, no user was moved without need, and the bad version was
// taken out.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/weft-mesh/weft/examples/internal/scene"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// callTimeout bounds a call.
const callTimeout = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, pace{callers: 8, users: 200, draws: 3000}); err != nil {
		fmt.Fprintln(os.Stderr, "canary: failed:", err)
		os.Exit(1)
	}
}

// pace is how much traffic runs.
type pace struct {
	callers int // without a key, of each kind
	users   int // with a key
	draws   int // calls by which a share is judged
}

func run(ctx context.Context, p pace) (err error) {
	s := scene.New([]string{"gRPC", "HTTP"}, versions)
	s.Board.Rows = "version"
	s.Say("a Consul server starts")
	agent, err := consultest.Start(ctx, consultest.Config{Datacenter: "aws", Progress: os.Stdout})
	if err != nil {
		return err
	}
	defer agent.Stop()
	st := &story{Scene: s, pace: p, write: writer{agent.Client().ConfigEntries()}, v2: &release{version: "v2"}, users: map[string]*users{}}
	for kind, protocol := range map[string]string{"gRPC": "grpc", "HTTP": "http"} {
		if err := st.write.describe(services[kind], protocol); err != nil {
			return err
		}
		if err := st.write.split(services[kind], 5); err != nil {
			return err
		}
	}
	f := &fleet{agent: agent.HTTPAddr()}
	fctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	defer func() { err = errors.Join(err, f.end()) }()
	v1 := &release{version: "v1"}
	for instance, r := range map[string]*release{"1": v1, "2": v1, "3": st.v2} {
		if err := f.start(fctx, r, instance); err != nil {
			return err
		}
	}
	s.Say("payments (gRPC) and inventory (HTTP) run: two instances of v1, one of v2, which a splitter gives 5 %%")
	st.events = &events{say: s.Say, seen: map[string]int{}}
	m, err := mesh.Join(ctx, mesh.Config{
		Service: "checkout", Locality: resolver.Locality{Cloud: "aws"},
		Clouds: []consul.Config{{Name: "aws", Address: agent.HTTPAddr()}}, SnapshotDir: "off",
		Logger: slog.New(st.events),
	})
	if err != nil {
		return err
	}
	defer m.Leave(context.Background())
	st.m = m
	return st.tell(ctx)
}

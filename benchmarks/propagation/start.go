package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/fleet"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
)

// starts is how long a new member takes to its first answer, in parts.
type starts struct {
	join, dial, call, all []time.Duration
	// firstJoin and firstCall are of a service that the agent has not seen before.
	firstJoin, firstCall time.Duration
}

// start joins, calls and leaves n times, after once with a cold agent.
func start(ctx context.Context, agent *consultest.Agent, n int) (s starts, err error) {
	f, err := fleet.New(ctx, agent, "started", nil)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	port, err := f.Serve(ctx, "only")
	if err != nil {
		return s, err
	}
	if err := f.Register("only", port, 1); err != nil {
		return s, err
	}
	for i := range n + 1 {
		join, dial, call, err := startOnce(ctx, agent)
		if err != nil {
			return s, err
		}
		if i == 0 {
			s.firstJoin, s.firstCall = join, call
			continue
		}
		s.join, s.dial, s.call = append(s.join, join), append(s.dial, dial), append(s.call, call)
		s.all = append(s.all, join+dial+call)
	}
	return s, nil
}

func startOnce(ctx context.Context, agent *consultest.Agent) (join, dial, call time.Duration, err error) {
	began := time.Now()
	m, err := mesh.Join(ctx, fleet.Member(agent, "starter"))
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, m.Leave(context.Background())) }()
	joined := time.Now()
	conn, err := m.Dial("started")
	if err != nil {
		return 0, 0, 0, err
	}
	dialled := time.Now()
	_, err = grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	return joined.Sub(began), dialled.Sub(joined), time.Since(dialled), err
}

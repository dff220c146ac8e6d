package main

import (
	"context"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
)

// held is never touched.
var held [][]byte

// withBallast gives the processes of a contender what the mesh has by default
// (mesh.Config.HeapBallast), and any program could have.
func withBallast(c contest.Contender) contest.Contender {
	serve, dial := c.Serve, c.Dial
	c.Serve = func(ctx context.Context, dir string) (*contest.Server, error) {
		held = append(held, make([]byte, 4<<20))
		return serve(ctx, dir)
	}
	c.Dial = func(ctx context.Context, dir, addr string) (*contest.Client, error) {
		held = append(held, make([]byte, 4<<20))
		return dial(ctx, dir, addr)
	}
	return c
}

package main

import (
	"context"
	"errors"
	"sync"

	"github.com/weft-mesh/weft/benchmarks/internal/fleet"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security/consulca"
)

// crowd is members, each with watches of its own.
type crowd struct {
	members  []*mesh.Mesh
	doors    *fleet.Doors
	identity *consulca.Source
}

func gather(ctx context.Context, agent *consultest.Agent, n int) (c *crowd, err error) {
	c = &crowd{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.leave())
		}
	}()
	if c.identity, err = consulca.New(ctx, consulca.Config{Service: "caller", Client: agent.Client()}); err != nil {
		return c, err
	}
	if c.doors, err = fleet.NewDoors(agent.HTTPAddr(), n); err != nil {
		return c, err
	}
	for i := range n {
		cfg := fleet.Member(agent, "caller")
		cfg.Clouds[0].Address = c.doors.Addr(i)
		cfg.Identity = c.identity
		m, err := mesh.Join(ctx, cfg)
		if err != nil {
			return c, err
		}
		c.members = append(c.members, m)
	}
	return c, nil
}

func (c *crowd) leave() error {
	errs := make([]error, len(c.members))
	var wg sync.WaitGroup
	for i, m := range c.members {
		wg.Go(func() { errs[i] = m.Leave(context.Background()) })
	}
	wg.Wait()
	if c.doors != nil {
		errs = append(errs, c.doors.Close())
	}
	if c.identity != nil {
		errs = append(errs, c.identity.Close())
	}
	return errors.Join(errs...)
}

package resilience

import (
	"context"
	"sync"
)

// Chain is a Gate of several, entered in order and left in reverse. If one
// refuses, those before it are told what its refusal counts as ([OutcomeOf]).
type Chain struct {
	gates []Gate
	pool  sync.Pool // *chained
}

// NewChain makes a Chain; nil gates are left out.
func NewChain(gates ...Gate) *Chain {
	c := &Chain{}
	for _, g := range gates {
		if g != nil {
			c.gates = append(c.gates, g)
		}
	}
	c.pool.New = func() any {
		x := &chained{c: c, ends: make([]func(Outcome), 0, len(c.gates))}
		x.done = x.end
		return x
	}
	return c
}

// chained is a call inside a Chain. It is reused.
type chained struct {
	c    *Chain
	ends []func(Outcome)
	done func(Outcome)
}

// Enter implements [Gate]. It allocates nothing itself.
func (c *Chain) Enter(ctx context.Context, in *Info) (func(Outcome), error) {
	switch len(c.gates) {
	case 0:
		return nothing, nil
	case 1:
		return c.gates[0].Enter(ctx, in)
	}
	x := c.pool.Get().(*chained)
	for _, g := range c.gates {
		done, err := g.Enter(ctx, in)
		if err != nil {
			x.end(OutcomeOf(err))
			return nil, err
		}
		x.ends = append(x.ends, done)
	}
	return x.done, nil
}

func (x *chained) end(o Outcome) {
	for i := len(x.ends) - 1; i >= 0; i-- {
		x.ends[i](o)
		x.ends[i] = nil
	}
	x.ends = x.ends[:0]
	x.c.pool.Put(x)
}

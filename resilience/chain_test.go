package resilience

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

type gateFunc func(ctx context.Context, in *Info) (func(Outcome), error)

func (g gateFunc) Enter(ctx context.Context, in *Info) (func(Outcome), error) { return g(ctx, in) }

func TestChain(t *testing.T) {
	t.Parallel()
	var log []string
	gate := func(name string, err error) Gate {
		return gateFunc(func(context.Context, *Info) (func(Outcome), error) {
			log = append(log, "in "+name)
			if err != nil {
				return nil, err
			}
			return func(o Outcome) { log = append(log, "out "+name+" "+o.Class.String()) }, nil
		})
	}
	hit := &Refused{Reason: ErrFault, Outcome: Outcome{Class: Retryable}}
	tests := []struct {
		chain *Chain
		want  string
	}{
		{NewChain(), "[]"},
		{NewChain(nil, gate("a", nil)), "[in a out a success]"},
		{NewChain(gate("a", nil), gate("b", nil)), "[in a in b out b success out a success]"},
		{NewChain(gate("a", nil), gate("b", errors.New("no")), gate("c", nil)), "[in a in b out a neutral]"},
		{NewChain(gate("a", nil), gate("b", hit)), "[in a in b out a retryable]"},
	}
	for _, tt := range tests {
		log = nil
		if done, err := tt.chain.Enter(t.Context(), &Info{}); err == nil {
			done(succeeded)
		}
		if got := fmt.Sprint(log); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

func TestChainAllocatesNothing(t *testing.T) {
	free := gateFunc(func(context.Context, *Info) (func(Outcome), error) { return nothing, nil })
	c := NewChain(free, free, free)
	ctx, in := t.Context(), &Info{}
	if n := testing.AllocsPerRun(1000, func() {
		done, _ := c.Enter(ctx, in)
		done(succeeded)
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

func TestParsePriority(t *testing.T) {
	t.Parallel()
	for p := range Priority(Priorities) {
		if got, ok := ParsePriority(p.String()); got != p || !ok {
			t.Errorf("%v becomes %v", p, got)
		}
	}
	for _, s := range []string{"", "CRITICAL", "high", "critical_plus "} {
		if got, ok := ParsePriority(s); got != Critical || ok {
			t.Errorf("%q becomes %v", s, got)
		}
	}
}

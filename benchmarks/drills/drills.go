package main

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
)

const (
	rate = 100 // calls per second
	warm = 3 * time.Second
)

// perTry gives each attempt a part of a call's second.
var perTry = mesh.ServicePolicy{Retry: resilience.Retry{AttemptTimeout: 300 * time.Millisecond}}

// scene is a drill.
type scene struct {
	name, what string
	clouds     int // with endpoints; the first is the caller's
	perCloud   int
	forwarded  bool
	policy     mesh.ServicePolicy
	play       func(*stage) error
}

var scenes = []scene{
	{"D6", "the caller's own cloud is a black hole", 3, 2, true, perTry, blackHole},
	{"D6b", "the same by default, without a time for each attempt", 3, 2, true, mesh.ServicePolicy{}, blackHoleByDefault},
	{"D7", "the processes of the caller's own cloud are killed", 3, 2, false, perTry, killed},
	{"D8", "one of six processes is stopped", 1, 6, false, perTry, stopped},
	{"D10", "one of six is half a second late", 1, 6, true, mesh.ServicePolicy{}, late},
	{"D11", "one of six fails everything at once", 1, 6, false, mesh.ServicePolicy{}, failsFast},
	{"D21", "all six are restarted, one after the other", 1, 6, false, mesh.ServicePolicy{}, restarted},
}

// play runs a drill and returns what it came to.
func (d scene) run(ctx context.Context, agents []*consultest.Agent) (figures []string, err error) {
	s, err := newStage(ctx, d.name, agents, d.clouds, d.perCloud, d.forwarded, d.policy)
	if err == nil {
		err = d.play(s)
	}
	if err != nil {
		s.broken = append(s.broken, err)
	}
	err = s.close()
	return s.figures, err
}

// home are the caller's own cloud's endpoints.
func (s *stage) home() (out []*node) {
	for _, n := range s.nodes {
		if n.role.Cloud == clouds[0] {
			out = append(out, n)
		}
	}
	return out
}

func (s *stage) isHome(host string) bool {
	for _, n := range s.home() {
		if n.role.Name == host {
			return true
		}
	}
	return false
}

func is(n *node) func(string) bool { return func(host string) bool { return host == n.role.Name } }

// movedOff is how long after from 99 % of the attempts keep off the hosts.
func (s *stage) movedOff(from time.Duration, is func(string) bool) time.Duration {
	return drill.Quiet(s.ledger.Requests(nil), from, s.ledger.Now(), 250*time.Millisecond, time.Second, 0.01, is)
}

// after does f later, and returns when f was done; wait for it.
func (s *stage) after(d time.Duration, f func() error) func() (time.Duration, error) {
	var at time.Duration
	done := make(chan error, 1)
	time.AfterFunc(d, func() {
		at = s.ledger.Now()
		done <- f()
	})
	return func() (time.Duration, error) {
		err := <-done
		return at, err
	}
}

package drills

import (
	"math"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
)

// D12: all endpoints are sick at once. The setup can do 240 calls/s: six endpoints,
// two calls at a time, 50 ms each.
func brownout() setup {
	return setup{policy: mesh.ServicePolicy{}, work: 50 * time.Millisecond, slots: 2}
}

// capacity is the calls per second that all nodes can do.
func (s *scene) capacity() float64 {
	return float64(len(s.nodes)*s.cfg.slots) / time.Duration(s.nodes[0].work.Load()).Seconds()
}

// goodput is the calls per second that succeeded in [from, to).
func (s *scene) goodput(from, to time.Duration) float64 {
	good := s.ledger.Requests(func(r *drill.Request) bool { return r.OK() && r.End >= from && r.End < to })
	return float64(len(good)) / (to - from).Seconds()
}

// pickable asserts that at least half of the endpoints go on being called.
func (s *scene) pickable(from, to time.Duration) {
	s.t.Helper()
	const window = 2 * time.Second
	reqs := s.ledger.Requests(nil)
	least := len(s.nodes)
	for at := from; at+window <= to; at += window {
		seen := map[string]bool{}
		for _, r := range reqs {
			for _, a := range r.Sent {
				if a.At >= at && a.At < at+window {
					seen[a.Host] = true
				}
			}
		}
		least = min(least, len(seen))
	}
	s.t.Logf("at least %d of %d endpoints are called at any time (promised: half)", least, len(s.nodes))
	if 2*least < len(s.nodes) {
		s.t.Errorf("only %d of %d endpoints are called", least, len(s.nodes))
	}
}

// recovered is how long after from the last second was in which less than 99 % of
// the requests succeeded, or half of them took more than twice base.
func (s *scene) recovered(from time.Duration, base time.Duration) time.Duration {
	last := time.Duration(0)
	for at := from; at+time.Second <= s.ledger.Now()-time.Second; at += 500 * time.Millisecond {
		reqs := s.ledger.Requests(drill.Due(at, at+time.Second))
		if drill.Success(reqs) < 0.99 || drill.Quantile(reqs, 0.5) > 2*base {
			last = at + time.Second - from
		}
	}
	return last
}

func TestBrownout(t *testing.T) {
	t.Parallel()
	const ill = 15 * time.Second
	t.Run("D12 errors", func(t *testing.T) {
		t.Parallel()
		run(t, brownout(), func(s *scene) {
			from := s.ledger.Now() + warm
			s.at(warm, func() { s.eachNode(func(n *node) { n.failing(0.3) }) })
			s.at(warm+ill, func() { s.eachNode(func(n *node) { n.failing(0) }) })
			rate := 0.6 * s.capacity()
			s.load(rate, warm+ill+12*time.Second)
			base := drill.Quantile(s.safe(0, from), 0.5)
			s.pickable(from, from+ill)
			s.succeedAtLeast("goodput by what is offered and does not fail", s.goodput(from+time.Second, from+ill)/(0.7*rate), 0.9)
			s.within("baseline after the end", s.recovered(from+ill, base), 10*time.Second)
		})
	})
	// Ten times slower, and half more is asked for than they can do then. What the
	// servers owe to it is a limit: who queues calls without one works on those whose
	// callers are about to leave.
	for _, limited := range []bool{true, false} {
		t.Run(map[bool]string{true: "D12 slow", false: "twin"}[limited], func(t *testing.T) {
			t.Parallel()
			cfg := brownout()
			cfg.work = 10 * time.Millisecond
			if limited {
				cfg.inbound = mesh.InboundPolicy{Concurrency: &resilience.ConcurrencyConfig{}}
			}
			run(t, cfg, func(s *scene) {
				from := s.ledger.Now() + warm
				s.at(warm, func() { s.eachNode(func(n *node) { n.work.Store(int64(10 * cfg.work)) }) })
				s.at(warm+ill, func() { s.eachNode(func(n *node) { n.work.Store(int64(cfg.work)) }) })
				slow := s.capacity() / 10
				s.load(1.5*slow, warm+ill+11*time.Second)
				good := s.goodput(from+2*time.Second, from+ill) / slow
				if !limited {
					t.Logf("goodput by capacity: %.3f", good)
					if good >= 0.9 {
						t.Error("the promise is kept also without a limit, so the drill shows nothing")
					}
					return
				}
				base := drill.Quantile(s.safe(0, from), 0.5)
				s.pickable(from, from+ill)
				s.succeedAtLeast("goodput by capacity", good, 0.9)
				s.within("baseline after the end", s.recovered(from+ill, base), 10*time.Second)
			})
		})
	}
}

func (s *scene) eachNode(f func(*node)) {
	for _, n := range s.nodes {
		f(n)
	}
}

func (s *scene) succeedAtLeast(what string, got, want float64) {
	s.t.Helper()
	s.t.Logf("%s: %.3f (promised: %.3f)", what, got, want)
	if math.IsNaN(got) || got < want {
		s.t.Errorf("%s is %.3f, at least %.3f is promised", what, got, want)
	}
}

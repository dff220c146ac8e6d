package drills

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
)

var (
	roundRobin   balancer.Policy = balancer.RoundRobin{}
	leastRequest balancer.Policy = balancer.LeastRequest{}
)

// broken asserts that a promise is not kept: d is over most, or negative for never.
func (s *scene) broken(what string, d, most time.Duration) {
	s.t.Helper()
	s.t.Logf("%s: %v, without what promises it", what, d)
	if d >= 0 && d <= most {
		s.t.Errorf("%s: kept in %v also without what is to keep it, so the drill shows nothing", what, d)
	}
}

func is(n *node) func(string) bool { return func(host string) bool { return host == n.name } }

// offAfter is when attempts cease to go to n, counted from when count attempts that
// began after from have been given up; limit is how long each is waited for.
func (s *scene) offAfter(n *node, from time.Duration, count int, limit time.Duration) time.Duration {
	var fifth time.Duration
	for _, r := range s.ledger.Requests(nil) {
		for _, a := range r.Sent {
			if a.At >= from && a.Host == n.name {
				if count--; count == 0 {
					fifth = a.At + limit
				}
			}
		}
	}
	if count > 0 {
		s.t.Logf("%s: the balancer alone kept calls off, before there were as many timeouts", n.name)
		return 0
	}
	s.t.Logf("%s: the fifth timeout was %v after the fault", n.name, fifth-from)
	return drill.Quiet(s.ledger.Requests(nil), fifth, s.ledger.Now(), 250*time.Millisecond, 2*time.Second, 0.01, is(n))
}

// backAfter is how long after from the share of n is back at share of what is fair.
func (s *scene) backAfter(n *node, from time.Duration, share float64) time.Duration {
	reqs := s.ledger.Requests(nil)
	fair := 1 / float64(len(s.nodes))
	const window = 2 * time.Second
	for at := from; at+window <= s.ledger.Now(); at += window / 4 {
		if drill.Share(reqs, at, at+window, is(n)) >= share*fair {
			return at + window - from
		}
	}
	return -1
}

// D8: a process is stopped: its kernel accepts, and nothing is ever answered.
func TestGrey(t *testing.T) {
	t.Parallel()
	t.Run("D8", func(t *testing.T) {
		t.Parallel()
		// Round robin, so that nothing but the outlier detection takes calls away.
		run(t, setup{policy: perTry, balancing: roundRobin}, func(s *scene) {
			sick := s.nodes[2]
			from := s.ledger.Now() + warm
			s.at(warm, func() { s.net.Break(sick.name, drill.Frozen) })
			s.at(warm+30*time.Second, func() { s.net.Break(sick.name, 0) })
			s.load(60, warm+66*time.Second)
			s.within("off after 5 timeouts", s.offAfter(sick, from, 5, 300*time.Millisecond), 2*time.Second)
			s.within("back after it goes on", s.backAfter(sick, from+30*time.Second, 0.5), 35*time.Second)
			s.succeed("while it is stopped", s.safe(from, from+30*time.Second), 0.999)
		})
	})
	for _, tc := range []struct {
		name      string
		policy    mesh.ServicePolicy
		balancing balancer.Policy
		limit     time.Duration
		kept      bool
	}{
		{"by default", mesh.ServicePolicy{}, nil, time.Second, true},
		{"without attempt timeout", mesh.ServicePolicy{}, roundRobin, time.Second, true},
		{"twin", mesh.ServicePolicy{Retry: perTry.Retry, NoOutlier: true, NoBreaker: true}, roundRobin, 300 * time.Millisecond, false},
		{"twin without attempt timeout", mesh.ServicePolicy{NoOutlier: true, NoBreaker: true}, roundRobin, time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			run(t, setup{policy: tc.policy, balancing: tc.balancing}, func(s *scene) {
				sick := s.nodes[2]
				from := s.ledger.Now() + warm
				s.at(warm, func() { s.net.Break(sick.name, drill.Frozen) })
				s.load(60, warm+8*time.Second)
				off := s.offAfter(sick, from, 5, tc.limit)
				if tc.kept {
					s.within("off after 5 timeouts", off, 2*time.Second)
				} else {
					s.broken("off after 5 timeouts", off, 2*time.Second)
				}
				s.net.Break(sick.name, 0)
			})
		})
	}
}

// D10: one of six answers half a second late.
func TestSlowReplica(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		policy    mesh.ServicePolicy
		balancing balancer.Policy
		kept      bool
	}{
		{"D10", mesh.ServicePolicy{}, nil, true},
		{"D10 with an attempt timeout", perTry, nil, true},
		{"twin", mesh.ServicePolicy{NoOutlier: true, NoBreaker: true}, roundRobin, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			run(t, setup{policy: tc.policy, balancing: tc.balancing}, func(s *scene) {
				slow := s.nodes[2]
				const ill = 20 * time.Second
				from := s.ledger.Now() + warm
				s.at(warm, func() { s.net.Slow(slow.name, 250*time.Millisecond) }) // each way
				s.at(warm+ill, func() { s.net.Slow(slow.name, 0) })
				s.load(100, warm+ill+31*time.Second)
				base := drill.Quantile(s.safe(0, from), 0.99)
				p99 := drill.Quantile(s.safe(from+10*time.Second, from+ill), 0.99)
				share := drill.Share(s.ledger.Requests(nil), from+10*time.Second, from+ill, is(slow)) * float64(len(s.nodes))
				back := s.backAfter(slow, from+ill, 0.8)
				if !tc.kept {
					t.Logf("p99 %v (before: %v), %.2f of the fair share", p99, base, share)
					if p99 <= 2*base || share <= 1.0/3 {
						t.Error("the promise is kept also without what is to keep it, so the drill shows nothing")
					}
					return
				}
				s.within("p99 after 10 s", p99, 2*base)
				t.Logf("its share: %.3f of what is fair (promised: 0.333)", share)
				if share > 1.0/3 {
					t.Errorf("the slow one gets %.2f of its fair share, at most a third is promised", share)
				}
				s.within("80 % of its share back", back, 30*time.Second)
				s.succeed("while it is slow", s.safe(from, from+ill), 0.999)
			})
		})
	}
}

// D11: one of six fails everything at once.
func TestFailsFast(t *testing.T) {
	t.Parallel()
	alone := resilience.Retry{Attempts: 1}
	for _, tc := range []struct {
		name      string
		policy    mesh.ServicePolicy
		balancing balancer.Policy
		kept      bool
	}{
		{"D11", mesh.ServicePolicy{}, nil, true},
		{"the outlier detection alone", mesh.ServicePolicy{Retry: alone, NoBreaker: true}, roundRobin, true},
		{"twin", mesh.ServicePolicy{Retry: alone, NoOutlier: true, NoBreaker: true}, roundRobin, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			run(t, setup{policy: tc.policy, balancing: tc.balancing, strangers: tc.kept}, func(s *scene) {
				bad := s.nodes[2]
				from := s.ledger.Now() + warm
				s.at(warm, func() { bad.failing(1) })
				s.load(100, warm+4*time.Second)
				late := s.safe(from+2*time.Second, s.ledger.Now())
				got := 0
				for _, r := range s.ledger.Requests(nil) {
					for _, a := range r.Got {
						if a.Host == bad.name && a.At >= from && a.At < from+4*time.Second {
							got++
						}
					}
				}
				if !tc.kept {
					t.Logf("%.2f %% failed, %d calls reached it", 100*(1-drill.Success(late)), got)
					if drill.Success(late) >= 0.995 || got <= 10 {
						t.Error("the promise is kept also without what is to keep it, so the drill shows nothing")
					}
					return
				}
				s.succeed("after 2 s", late, 0.995)
				t.Logf("%d calls reached it before it was ejected (promised: 5)", got)
				if got > 5 {
					t.Errorf("%d calls reached it, at most 5 are promised", got)
				}
			})
		})
	}
}

// A node that fails at once looks idle to who counts what is in flight. Neither of
// the policies that do must send it more than its share, with nothing else at work.
func TestFailsFastAttractsNothing(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]balancer.Policy{"least request": leastRequest, "peak EWMA": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mesh.ServicePolicy{Retry: resilience.Retry{Attempts: 1}, NoOutlier: true, NoBreaker: true}
			run(t, setup{policy: p, balancing: policy, work: 40 * time.Millisecond}, func(s *scene) {
				bad := s.nodes[2]
				from := s.ledger.Now() + warm
				s.at(warm, func() { bad.failing(1) })
				s.load(100, warm+5*time.Second)
				share := drill.Share(s.ledger.Requests(nil), from+2*time.Second, s.ledger.Now(), is(bad)) * float64(len(s.nodes))
				t.Logf("%.3f of its fair share", share)
				if share > 1 {
					t.Errorf("it draws %.2f of its fair share", share)
				}
			})
		})
	}
}

package drills

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
)

// restart ends each process and starts it anew, one after the other.
func (s *scene) restart(end func(*node)) {
	for _, n := range s.nodes {
		end(n)
		pass(500 * time.Millisecond)
		s.net.Break(n.name, 0)
		n.stop = nil
		n.start(payments)
		pass(500 * time.Millisecond)
	}
}

// D21: all servers are restarted, one after the other. Half of the calls may not be
// done twice: no retry helps them.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		cfg    setup
		end    func(*node)
		rate   float64 // calls per second
		share  float64
		broken bool
	}{
		{name: "D21 in order", cfg: setup{drain: 5 * time.Second, propagation: 100 * time.Millisecond, strangers: true}, end: func(n *node) { n.stop() }, rate: 300, share: 1},
		// What is in flight at the six kills and may not be done twice is lost: 1.2 calls
		// on average, and it takes ten to break the promise.
		{name: "D21 killed", cfg: setup{}, end: func(n *node) { n.s.net.Kill(n.name); n.stop() }, rate: 1000, share: 0.999},
		{name: "twin: cut without a drain", cfg: setup{}, end: func(n *node) { n.stop() }, rate: 300, broken: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := tc.cfg
			cfg.policy, cfg.work = mesh.ServicePolicy{}, 20*time.Millisecond
			cfg.onlyOnce = tc.share == 1 || tc.broken
			if tc.broken {
				cfg.work = 100 * time.Millisecond // so that each end cuts calls short
			}
			run(t, cfg, func(s *scene) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					pass(time.Second)
					s.restart(tc.end)
				}()
				if cfg.strangers {
					s.intrude(8 * time.Second)
				}
				s.load(tc.rate, 9*time.Second)
				<-done
				reqs := s.ledger.Requests(nil)
				if tc.broken {
					t.Logf("%.3f %% succeed, without a drain", 100*drill.Success(reqs))
					if drill.Success(reqs) == 1 {
						t.Error("nothing fails also without a drain, so the drill shows nothing")
					}
					return
				}
				s.succeed("during the restarts", reqs, tc.share)
				for _, r := range reqs {
					if r.Err != nil && status.Code(r.Err) != codes.Unavailable {
						t.Errorf("request %d: %v; want only what was in flight to be lost", r.ID, r.Err)
					}
				}
			})
		})
	}
}

package main

import (
	"time"

	"github.com/weft-mesh/weft/internal/drill"
)

// restarted ends each process, in order and by SIGKILL, and starts it anew.
func restarted(s *stage) error {
	for _, how := range []struct {
		name  string
		every int // one in so many calls may not be done twice
		share float64
		end   func(*node)
	}{{"in order", 2, 1, func(n *node) { n.stop() }}, {"killed", 1 << 30, 0.999, func(n *node) { n.kill() }}} {
		stop := make(chan struct{})
		restarts := make(chan error, 1)
		go func() {
			defer close(stop)
			for _, n := range s.nodes {
				how.end(n)
				if err := n.start(s.ctx); err != nil {
					restarts <- err
					return
				}
				time.Sleep(500 * time.Millisecond)
			}
			restarts <- nil
		}()
		from := s.ledger.Now()
		for done := false; !done; {
			s.load(300, time.Second, how.every)
			select {
			case <-stop:
				done = true
			default:
			}
		}
		if err := <-restarts; err != nil {
			return err
		}
		s.succeed(how.name, s.ledger.Requests(drill.Due(from, s.ledger.Now())), how.share)
	}
	return nil
}

package main

import (
	"context"
	"syscall"
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

func (s *stage) vanish() error {
	for _, n := range s.home() {
		if err := n.fwd.vanish(); err != nil {
			return err
		}
	}
	return nil
}

func blackHole(s *stage) error {
	st, err := s.client.FullDuplexCall(s.ctx)
	if err != nil {
		return err
	}
	if _, err := st.Recv(); err != nil {
		return err
	}
	ended := make(chan time.Duration, 1)
	go func() {
		_, _ = st.Recv() // until the connection is given up
		ended <- s.ledger.Now()
	}()
	fault := s.after(warm, s.vanish)
	s.load(rate, warm+16*time.Second, 20)
	from, err := fault()
	if err != nil {
		return err
	}
	s.within("moved", s.movedOff(from, s.isHome), 3*time.Second)
	s.succeed("first 5 s", s.safe(from, from+5*time.Second), 0.995)
	s.succeed("after", s.safe(from+5*time.Second, s.ledger.Now()), 0.9999)
	select {
	case at := <-ended:
		s.within("idle stream broken", at-from, 14*time.Second)
	default:
		s.within("idle stream broken", -1, 14*time.Second)
	}
	return nil
}

func blackHoleByDefault(s *stage) error {
	fault := s.after(warm, s.vanish)
	s.load(rate, warm+7*time.Second, 20)
	from, err := fault()
	if err != nil {
		return err
	}
	s.within("moved", s.movedOff(from, s.isHome), 3*time.Second)
	s.succeed("from 3 s on", s.safe(from+3*time.Second, from+5*time.Second), 0.99)
	return nil
}

func killed(s *stage) error {
	fault := s.after(warm, func() error {
		for _, n := range s.home() {
			n.kill()
		}
		return nil
	})
	s.load(rate, warm+6*time.Second, 20)
	from, err := fault()
	if err != nil {
		return err
	}
	s.within("moved", s.movedOff(from, s.isHome), time.Second)
	s.succeed("success", s.safe(from, s.ledger.Now()), 0.9995)
	return nil
}

func stopped(s *stage) error {
	sick := s.nodes[2]
	const still = 20 * time.Second
	fault := s.after(warm, func() error { return sick.cmd.Process.Signal(syscall.SIGSTOP) })
	s.load(rate, warm+still, 20)
	from, err := fault()
	if err != nil {
		return err
	}
	timeouts, fifth := 0, time.Duration(0)
	for _, r := range s.ledger.Requests(nil) {
		for _, a := range r.Sent {
			if a.At >= from && a.Host == sick.role.Name {
				if timeouts++; timeouts == 5 {
					fifth = a.At + 300*time.Millisecond
				}
			}
		}
	}
	if timeouts >= 5 {
		s.within("off after 5 timeouts", s.movedOff(fifth, is(sick)), 2*time.Second)
	} else {
		s.promise(true, "off after %d timeouts", timeouts)
	}
	s.succeed("success meanwhile", s.safe(from, s.ledger.Now()), 0.999)
	again := s.ledger.Now()
	if err := sick.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	s.within("back at half of its share", s.back(sick, again, 0.5, 35*time.Second), 35*time.Second)
	return nil
}

// back loads until the node has its share again, and returns when.
func (s *stage) back(n *node, from time.Duration, share float64, most time.Duration) time.Duration {
	const window = 2 * time.Second
	for s.ledger.Now() < from+most {
		s.load(rate, window, 20)
		now := s.ledger.Now()
		if drill.Share(s.ledger.Requests(nil), now-window, now, is(n))*float64(len(s.nodes)) >= share {
			return now - from
		}
	}
	return -1
}

func late(s *stage) error {
	slow := s.nodes[2]
	const ill = 15 * time.Second
	fault := s.after(warm, func() error { slow.fwd.slow(250 * time.Millisecond); return nil })
	s.load(rate, warm+ill, 20)
	from, err := fault()
	if err != nil {
		return err
	}
	base := drill.Quantile(s.safe(0, from), 0.99)
	p99 := drill.Quantile(s.safe(from+10*time.Second, s.ledger.Now()), 0.99)
	s.within("p99 after 10 s", p99, 2*max(base, 50*time.Millisecond))
	share := drill.Share(s.ledger.Requests(nil), from+10*time.Second, s.ledger.Now(), is(slow)) * float64(len(s.nodes))
	s.promise(share <= 1.0/3, "its share %.2f of what is fair (0.33)", share)
	slow.fwd.slow(0)
	s.within("80 % of it back", s.back(slow, s.ledger.Now(), 0.8, 30*time.Second), 30*time.Second)
	return nil
}

func failsFast(s *stage) error {
	bad := s.nodes[2]
	fault := s.after(warm, func() error { return bad.order("fail 1") })
	s.load(rate, warm+4*time.Second, 20)
	from, err := fault()
	if err != nil {
		return err
	}
	got := 0
	for _, r := range s.ledger.Requests(nil) {
		for _, a := range r.Got {
			if a.Host == bad.role.Name && a.At >= from+50*time.Millisecond { // the order has arrived
				got++
			}
		}
	}
	s.succeed("after 2 s", s.safe(from+2*time.Second, s.ledger.Now()), 0.995)
	s.promise(got <= 5, "%d calls until it was ejected (5)", got)
	return nil
}

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

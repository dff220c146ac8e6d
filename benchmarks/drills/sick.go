package main

import (
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/drill"
)

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

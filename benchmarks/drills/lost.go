package main

import (
	"time"
)

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

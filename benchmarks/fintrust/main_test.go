package main

import (
	"testing"
	"time"
)

// Time is virtual, so that the claims can be held to their figures.
func TestFintrust(t *testing.T) {
	t.Parallel()
	s := scene{replicas: 2, clients: 2, share: 0.35, apart: 80 * time.Millisecond, degraded: 1.5, brown: 10, checks: 2, warm: 4 * time.Second, span: 4 * time.Second, seeds: 1}
	r, err := compare(t, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if r.LatencyRatio > 0.58 {
		t.Errorf("the mean latency is %.2f of round robin's, at most 0.58 is claimed", r.LatencyRatio)
	}
	if r.GoodputRatio < 2 || r.GoodWeft < 0.7 {
		t.Errorf("goodput in the brown-out is %.2f times that of round robin, %.2f of all", r.GoodputRatio, r.GoodWeft)
	}
}

func TestSceneIsChecked(t *testing.T) {
	t.Parallel()
	good := scene{replicas: 4, clients: 4, share: 0.35, degraded: 1.5, brown: 10, checks: 2, span: time.Second, seeds: 1}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*scene){
		"replicas": func(s *scene) { s.replicas = 0 },
		"clients":  func(s *scene) { s.clients = 0 },
		"load":     func(s *scene) { s.share = 1 },
		"apart":    func(s *scene) { s.apart = -1 },
		"degraded": func(s *scene) { s.degraded = 0 },
		"brown":    func(s *scene) { s.brown = 0 },
		"checks":   func(s *scene) { s.checks = 0 },
		"span":     func(s *scene) { s.span = 0 },
		"seeds":    func(s *scene) { s.seeds = 0 },
	} {
		s := good
		change(&s)
		if s.check() == nil {
			t.Errorf("%s: a bad value was accepted", name)
		}
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	var o outcome
	o.add(outcome{})
	o.add(outcome{payments: 100, mean: 100, p99: 7, good: 1})
	o.add(outcome{payments: 300, mean: 200, p99: 5, good: 0.5})
	if want := (outcome{payments: 400, mean: 175, p99: 7, good: 0.625}); o != want {
		t.Errorf("%+v, want %+v", o, want)
	}
}

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

// The kinds are compared seed by seed; of an even number the lower middle counts.
func TestConclude(t *testing.T) {
	t.Parallel()
	of := func(mean time.Duration, good ...float64) (all []outcome) {
		for _, g := range good {
			all = append(all, outcome{payments: 1, mean: mean, good: g})
		}
		return all
	}
	got := map[string][]outcome{
		"degradedround_robin": of(100*time.Millisecond, 1, 1, 1), "degradedweft": of(40*time.Millisecond, 1, 1, 1), "degradedweft_limited": of(50*time.Millisecond, 1, 1, 1),
		"brownround_robin": of(0, 0.25, 0.25, 0.3), "brownweft": of(0, 0.5, 1, 0.9), "brownweft_limited": of(0, 1, 1, 0.9),
	}
	r, err := conclude(scene{seeds: 3, checks: 2}, got)
	want := result{Bench: "fintrust", Seeds: 3, LatencyRatio: 0.4, GoodputRatio: 3, GoodputMin: 2, GoodputMax: 4, Ceiling: 4, PerCheck: 1.7321,
		MeanNaive: 100, MeanWeft: 40, GoodNaive: 0.25, GoodWeft: 0.9, LimitedLatency: 0.5, LimitedGoodput: 4, LimitedMin: 3, LimitedMax: 4}
	if err != nil || r != want {
		t.Errorf("%+v, %v; want %+v", r, err, want)
	}
	got["brownround_robin"] = of(0, 0.25, 0, 0.3)
	if _, err := conclude(scene{seeds: 3, checks: 2}, got); err == nil {
		t.Error("there is no ratio to nothing")
	}
}

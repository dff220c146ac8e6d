package main

import (
	"testing"
	"time"
)

// A member of the mesh finds the slow replica, and fails no call for it; how good
// it is to a few percent is for the long form to say. Round robin shows that the
// replica is slow enough to be found.
func TestSlow(t *testing.T) {
	t.Parallel()
	s := scene{replicas: 10, clients: 3, share: 0.6, slow: 10, warm: time.Second, span: 2 * time.Second, seeds: 1}
	got := map[string]*outcome{}
	for _, k := range kinds() {
		if k.name == "least_request" {
			continue
		}
		o, err := simulate(t, s, k, 1)
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		o.print(k.name, "1")
		got[k.name] = &o
	}
	weft, alone := got["weft"], got["p2c_ewma"]
	if weft.errors > 0 {
		t.Errorf("%d calls failed; the first: %v", weft.errors, weft.firstError)
	}
	if share := weft.slowShare(); share > 0.03 {
		t.Errorf("the slow replica got %.2f %% of the calls, round robin would give it 10 %%", 100*share)
	}
	if a, b := weft.quantile(0.99), alone.quantile(0.99); a > b*13/10 {
		t.Errorf("p99 is %v, and %v with the policy alone", a, b)
	}
	if rr := got["round_robin"]; rr.errors == 0 {
		t.Error("round robin failed no call: the scene shows nothing")
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var o outcome
	if o.quantile(0.99) != 0 {
		t.Error("of nothing")
	}
	for i := range 1000 {
		o.note(false, time.Duration(1000-i), nil)
	}
	if a, b := o.quantile(0.5), o.quantile(0.999); a != 501 || b != 1000 {
		t.Errorf("%v and %v", a, b)
	}
	o.note(true, 1, errWanted)
	o.note(false, 1, errWanted)
	if o.early != 1 || o.errors != 1 || len(o.took) != 1001 || o.quantile(1) != deadline {
		t.Errorf("%d early, %d errors, %d calls, longest %v", o.early, o.errors, len(o.took), o.quantile(1))
	}
}

func TestSceneIsChecked(t *testing.T) {
	t.Parallel()
	good := scene{replicas: 50, clients: 20, share: 0.7, slow: 10, span: time.Second, seeds: 1}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*scene){
		"replicas": func(s *scene) { s.replicas = 1 },
		"clients":  func(s *scene) { s.clients = 0 },
		"load":     func(s *scene) { s.share = -1 },
		"slow":     func(s *scene) { s.slow = 0.5 },
		"warm":     func(s *scene) { s.warm = -1 },
		"span":     func(s *scene) { s.span = 0 },
		"seeds":    func(s *scene) { s.seeds = 0 },
	} {
		bad := good
		change(&bad)
		if bad.check() == nil {
			t.Errorf("-%s is not checked", name)
		}
	}
}

type wanted struct{}

func (wanted) Error() string { return "wanted" }

var errWanted error = wanted{}

package main

import (
	"testing"
	"time"
)

// At three times its capacity the service does nearly all it can, and the top
// class does not notice; without a limit it does nearly nothing.
func TestOverload(t *testing.T) {
	t.Parallel()
	s := scene{loads: []float64{1, 3}, warm: time.Second, span: time.Second, seed: 1}
	all, err := s.sweep(t, kinds()[3], func(o *outcome, load float64) { o.print("vegas", load) })
	if err != nil {
		t.Fatal(err)
	}
	if ratio, top, _ := judge(all); ratio < 0.92 || top < 0.999 {
		t.Errorf("goodput %.3f of its peak, want 0.92; top class %.4f, want 0.999", ratio, top)
	}
	s.loads = s.loads[1:]
	bare, err := s.sweep(t, kinds()[0], func(o *outcome, load float64) { o.print("nothing", load) })
	if err != nil {
		t.Fatal(err)
	}
	if share := bare[0].goodput() / capacity; share > 0.5 {
		t.Errorf("goodput is %.2f of the capacity without a limit: the scene shows nothing", share)
	}
}

func TestParseLoads(t *testing.T) {
	t.Parallel()
	if got, err := parseLoads("3, 0.5"); err != nil || len(got) != 2 || got[0] != 0.5 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "1,", "0", "-1", "NaN", "Inf", "21", "x"} {
		if got, err := parseLoads(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

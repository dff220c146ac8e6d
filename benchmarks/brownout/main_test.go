package main

import (
	"testing"
	"time"
)

// Time is virtual here, so the promises can be held to their figures: retries add
// at most 15 % to the load of a service that fails, and the end of its failure is
// the end of its callers' trouble.
func TestBrownout(t *testing.T) {
	s := scene{rate: capacity / 3, fail: 0.5, warm: 2 * time.Second, fault: 10 * time.Second, after: 6 * time.Second, seed: 1}
	o, err := simulate(t, s, weft)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("amplification %.3f, recovered after %v, good before %.3f, during %.3f, after %.3f", o.amplification, o.recovered, o.before, o.during, o.after)
	if o.before < 0.999 {
		t.Errorf("%.2f %% of calls were good before the fault", 100*o.before)
	}
	if o.amplification > 1.15 {
		t.Errorf("the last service got %.3f times the calls, at most 1.15 are allowed", o.amplification)
	}
	if o.recovered > 5*time.Second {
		t.Errorf("goodput was below 95 %% until %v after the fault, at most 5 s are allowed", o.recovered)
	}
}

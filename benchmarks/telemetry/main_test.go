package main

import (
	"testing"
	"time"
)

// Times depend on the machine, allocations do not. Both ends together, metrics add
// none, traces that are not sampled at most two.
func TestAllocations(t *testing.T) {
	adds, base, err := measure(t.Context(), 3, 250*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("off: %.2f allocations per call; %+v", base.Allocs, adds)
	// What the runtime allocates beside the calls is some hundredths of one per call.
	const noise = 0.3
	for name, most := range map[string]float64{"metrics": 0, "metrics of the caller": 0, "unsampled": 2} {
		if got := adds[name].Allocs; got > most+noise {
			t.Errorf("%s: %.2f more allocations per call, at most %v are allowed", name, got, most)
		}
	}
}

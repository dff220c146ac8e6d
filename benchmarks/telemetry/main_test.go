package main

import (
	"math"
	"slices"
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
	for name, most := range map[string]float64{"metrics": 0, "metrics of the caller": 0, "unsampled": 2} {
		// What the runtime allocates beside the calls is some hundredths of one per call. A
		// sync.Pool forgets by chance under the race detector: two or three more or less in
		// each call, which a slow machine makes few of.
		got := adds[name]
		if noise := 0.3 + 12/math.Sqrt(got.calls); got.Allocs > most+noise {
			t.Errorf("%s: %.2f more allocations per call over %v calls, at most %v are allowed", name, got.Allocs, got.calls, most)
		}
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	outlier := append(slices.Repeat([]float64{10}, 24), 5000)
	wide := make([]float64, 25)
	for i := range wide {
		wide[i] = float64(i * 100)
	}
	for name, tt := range map[string]struct {
		v    []float64
		want float64
	}{
		"one round":          {[]float64{7}, 0},
		"few: all of them":   {[]float64{-300, 100, 200}, 400},
		"seven: the extreme": {[]float64{1, 2, 3, 4, 5, 6, 90}, 86},
		"one slice was bad":  {outlier, 0},
		"spread":             {wide, 500}, // ranks 8 and 18 of 25
	} {
		if got := noise(tt.v); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

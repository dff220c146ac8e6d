package main

import (
	"errors"
	"math"
	"slices"
	"time"
)

// conclude compares the kinds seed by seed: the same payments.
func conclude(s scene, got map[string][]outcome) (r result, err error) {
	r = result{Bench: "fintrust", Seeds: s.seeds}
	latency, goodput := func(o outcome) float64 { return ms(o.mean) }, func(o outcome) float64 { return o.good }
	list := func(key string, of func(outcome) float64) (all []float64) {
		for _, o := range got[key] {
			all = append(all, of(o))
		}
		return all
	}
	over := func(a, b []float64) (all []float64) {
		for i := range a {
			all = append(all, a[i]/b[i])
		}
		return all
	}
	naive := list("degradedround_robin", latency)
	r.MeanNaive, r.MeanWeft = median(naive), median(list("degradedweft", latency))
	r.LatencyRatio = median(over(list("degradedweft", latency), naive))
	r.LimitedLatency = median(over(list("degradedweft_limited", latency), naive))
	naive = list("brownround_robin", goodput)
	if slices.Min(naive) == 0 {
		return r, errors.New("round robin had no good payment in the brown-out; there is no ratio: use a smaller -brown or fewer -checks")
	}
	ratio, limited := over(list("brownweft", goodput), naive), over(list("brownweft_limited", goodput), naive)
	r.GoodNaive, r.GoodWeft = median(naive), median(list("brownweft", goodput))
	r.GoodputRatio, r.GoodputMin, r.GoodputMax = median(ratio), round(slices.Min(ratio)), round(slices.Max(ratio))
	r.LimitedGoodput, r.LimitedMin, r.LimitedMax = median(limited), round(slices.Min(limited)), round(slices.Max(limited))
	r.Ceiling = round(1 / r.GoodNaive)
	r.PerCheck = round(math.Pow(r.GoodputRatio, 1/float64(s.checks)))
	return r, nil
}

// median is the middle one, of an even number the lower.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return round(v[(len(v)-1)/2])
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }

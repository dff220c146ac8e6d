package main

import (
	"fmt"
	"strings"
	"time"
)

// result is the last line.
type result struct {
	Bench   string  `json:"bench"`
	Ratio   float64 `json:"goodput_ratio"`
	Top     float64 `json:"top_success"`
	TopP99  float64 `json:"top_p99_ratio"` // at the highest load over that at the lowest
	Used    float64 `json:"goodput_of_capacity"`
	Grad    float64 `json:"goodput_ratio_gradient2"`
	TopGrad float64 `json:"top_success_gradient2"`
	None    float64 `json:"goodput_ratio_nothing"`
	TopNone float64 `json:"top_success_nothing"`
}

func (o *outcome) print(name string, load float64) {
	var by []string
	for rank := range o.offered {
		by = append(by, fmt.Sprintf("%6.2f %%", 100*o.success(rank)))
	}
	fmt.Printf("%-10s %6.2fx %10.0f   %-35s %10.1f %8d\n", name, load, o.goodput(), strings.Join(by, " "),
		float64(o.topP99())/float64(time.Millisecond), o.refused)
}

// judge is goodput at the highest load over the best, and the top class at its worst.
func judge(all []outcome) (ratio, top, peak float64) {
	top = 1
	for i := range all {
		peak, top = max(peak, all[i].goodput()), min(top, all[i].success(0))
	}
	return all[len(all)-1].goodput() / max(peak, 1), top, peak
}

func (r *result) take(name string, all []outcome) {
	ratio, top, peak := judge(all)
	switch name {
	case "vegas":
		last, first := &all[len(all)-1], &all[0]
		r.Ratio, r.Top, r.Used = round(ratio), round(top), round(peak/capacity)
		r.TopP99 = round(float64(last.topP99()) / max(float64(first.topP99()), 1))
	case "gradient2":
		r.Grad, r.TopGrad = round(ratio), round(top)
	case "nothing":
		r.None, r.TopNone = round(ratio), round(top)
	}
}

// round cuts, so that a promise is not kept by rounding.
func round(v float64) float64 { return float64(int(v*1e5)) / 1e5 }

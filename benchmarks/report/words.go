package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

func (r *results) telemetry() string {
	var t struct {
		Adds map[string]struct {
			NS, Allocs float64
			Noise      float64 `json:"noise_ns"`
		} `json:"adds"`
	}
	if !r.get("telemetry", &t) {
		return "not run"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.Adds)) {
		a := t.Adds[name]
		took := fmt.Sprintf("%+.0f ns (±%.0f)", a.NS, a.Noise)
		switch {
		case a.Noise <= 0:
			took = "time not known"
		case math.Abs(a.NS) <= a.Noise:
			took = fmt.Sprintf("below what this run can tell (±%.0f ns)", a.Noise)
		}
		parts = append(parts, fmt.Sprintf("%s: %s, %+.1f allocations", name, took, round(a.Allocs)))
	}
	return strings.Join(parts, "; ")
}

func (r *results) meter() string {
	var m struct {
		Costs map[string]struct{ NS, Allocs float64 } `json:"costs"`
	}
	if !r.get("meter", &m) {
		return "not run"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m.Costs)) {
		parts = append(parts, fmt.Sprintf("%s: %.0f ns, %.0f allocations", name, m.Costs[name].NS, m.Costs[name].Allocs))
	}
	return strings.Join(parts, "; ") + "; the traces' cost contains that of the metrics of the call"
}

// round keeps a tenth, and no -0.
func round(v float64) float64 { return math.Round(v*10)/10 + 0 }

func (r *results) drills() string {
	var d struct {
		Drills int      `json:"drills"`
		Broken []string `json:"broken"`
	}
	if !r.get("drills", &d) {
		return "not run"
	}
	if len(d.Broken) > 0 {
		return fmt.Sprintf("%d of %d keep their promise; broken: %s", d.Drills-len(d.Broken), d.Drills, strings.Join(d.Broken, ", "))
	}
	return fmt.Sprintf("all %d keep their promise", d.Drills)
}

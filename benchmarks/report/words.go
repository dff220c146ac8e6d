package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (r *results) telemetry() string {
	var t struct {
		Adds map[string]struct{ NS, Allocs float64 } `json:"adds"`
	}
	if !r.get("telemetry", &t) {
		return "not run"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.Adds)) {
		parts = append(parts, fmt.Sprintf("%s: %+.0f ns, %+.1f allocations", name, t.Adds[name].NS, t.Adds[name].Allocs))
	}
	return strings.Join(parts, "; ")
}

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

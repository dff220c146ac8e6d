package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sentence says what a benchmark came to, in a cell.
func (r *results) sentence(name string) string {
	v := map[string]any{}
	if !r.get(name, &v) {
		return "not run"
	}
	f := func(key string) float64 { x, _ := v[key].(float64); return x }
	percent := func(key string) string { return fmt.Sprintf("%.4g %%", 100*f(key)) }
	switch name {
	case "overhead":
		return r.overhead()
	case "openloop":
		return r.openloop()
	case "pick":
		return r.picked()
	case "meter":
		return r.meter()
	case "telemetry":
		return r.telemetry()
	case "drills":
		return r.drills()
	case "scale":
		return fmt.Sprintf("%.0f accepted in %.0f ms, %.1f MB; 1 %% of them changed in %.1f ms; 100,000 held: %.0f MB", f("endpoints"), f("setup_ms"), f("setup_mb"), f("churn_ms"), f("heap_100k_mb"))
	case "propagation":
		one := ""
		if f("one_client_p50_ms") > 0 {
			one = fmt.Sprintf("1 client: p50 %.0f ms, p99 %.0f ms; ", f("one_client_p50_ms"), f("one_client_p99_ms"))
		}
		more := ""
		rows, _ := v["rows"].([]any)
		for _, x := range rows {
			if row, _ := x.(map[string]any); row["by"] == "picks" {
				more += fmt.Sprintf("%v watches that only pick: p50 %.0f ms, p99 %.0f ms; ", row["clients"], row["p50_ms"], row["p99_ms"])
			}
		}
		return one + fmt.Sprintf("%.0f clients: p50 %.0f ms, p99 %.0f ms; %s%.0f failed calls", f("clients"), f("p50_ms"), f("p99_ms"), more, f("failed"))
	case "coldstart":
		return fmt.Sprintf("%.0f endpoints: %.0f ms; grpc-go's round_robin, which asks for neither identity nor catalog: %.0f ms", f("endpoints"), f("first_ok_ms"), f("round_robin_ms"))
	case "rotation":
		root := "; the root was not rotated"
		if f("root_calls") > 0 {
			root = fmt.Sprintf("; %.0f calls through a new root", f("root_calls"))
		}
		return fmt.Sprintf("%.0f failed of %.0f calls, %.0f rotations of both sides%s", f("failed"), f("calls"), f("rotations"), root)
	case "outage":
		return fmt.Sprintf("refused: %s of calls good, black-holed: %s (attempts limited to %.0f ms); moved within %.0f ms. grpc-go: %s, %s",
			percent("success_refused"), percent("success_blackhole"), f("attempt_timeout_ms"), f("moved95_ms"), percent("success_refused_grpc"), percent("success_blackhole_grpc"))
	case "brownout":
		return fmt.Sprintf("%.2f times the load at the last service, good again after %.1f s; with 3 attempts per layer %.2f times and %.1f s",
			f("amplification"), f("recovered_s"), f("amplification_naive"), f("recovered_s_naive"))
	case "slow":
		return fmt.Sprintf("p99 %.0f ms, %.0f errors, %.2f %% of calls to the slow one; the best other, %v: p99 %.0f ms", f("p99_ms"), f("errors"), 100*f("slow_share"), v["best_other"], f("best_other_p99_ms"))
	case "overload":
		return fmt.Sprintf("at the highest load %s of the best goodput, top class %s good; without a limit %s and %s", percent("goodput_ratio"), percent("top_success"), percent("goodput_ratio_nothing"), percent("top_success_nothing"))
	case "fintrust":
		spread := ""
		if f("seeds") > 1 {
			spread = fmt.Sprintf(" (%.1f to %.1f over %.0f seeds; without a failure the middle one would be %.1f)", f("goodput_ratio_min"), f("goodput_ratio_max"), f("seeds"), f("goodput_ratio_ceiling"))
		}
		return fmt.Sprintf("mean latency %.0f %% less than naive round robin, goodput in the brown-out %.1f times its%s; with attempts limited %.0f %% and %.1f times",
			100*(1-f("latency_ratio")), f("goodput_ratio"), spread, 100*(1-f("latency_ratio_limited")), f("goodput_ratio_limited"))
	}
	return "run; no words for it"
}

func (r *results) overhead() string {
	var o struct {
		Callers   int     `json:"callers"`
		Ratio     float64 `json:"ratio"`
		AllocBare float64 `json:"allocs_bare"`
		AllocWeft float64 `json:"allocs_weft"`
		Tuned     float64 `json:"ratio_tuned"`
		Defaults  float64 `json:"ratio_defaults"`
		NoBallast float64 `json:"ratio_no_ballast"`
		Alone     float64 `json:"ratio_alone"`
		Peers     map[string]struct {
			Ratio, Allocs float64
			NotRun        string `json:"not_run"`
		} `json:"peers"`
		Rows []row `json:"rows"`
	}
	if !r.get("overhead", &o) {
		return "not run"
	}
	var parts, left []string
	if o.Callers > 0 {
		parts = append(parts, fmt.Sprintf("%d callers: **weft %.2f** of bare grpc-go's calls per second, %.1f allocations against %.1f", o.Callers, o.Ratio, o.AllocWeft, o.AllocBare))
	}
	if o.Defaults > 0 {
		parts = append(parts, fmt.Sprintf("with what is on by default %.2f", o.Defaults))
	}
	if o.Tuned > 0 {
		parts = append(parts, fmt.Sprintf("bare with weft's settings %.2f", o.Tuned))
	}
	if o.NoBallast > 0 {
		parts = append(parts, fmt.Sprintf("weft without its heap ballast %.2f", o.NoBallast))
	}
	if o.Alone > 0 {
		parts = append(parts, fmt.Sprintf("bare in a program without the mesh %.2f", o.Alone))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Peers)) {
		if p := o.Peers[name]; p.NotRun != "" {
			left = append(left, name)
		} else if p.Ratio > 0 {
			parts = append(parts, fmt.Sprintf("%s %.2f, %.1f", name, p.Ratio, p.Allocs))
		}
	}
	for _, load := range []string{"streams", "http 1.1", "http 2"} {
		for _, row := range o.Rows {
			if row.Load == load && (row.Name == "weft" || strings.HasPrefix(row.Name, "weft http")) && (row.Callers == o.Callers || o.Callers == 0) {
				parts = append(parts, fmt.Sprintf("weft by %s %.2f", strings.ReplaceAll(load, "http ", "HTTP/"), row.Ratio))
			}
		}
	}
	if len(left) > 0 {
		parts = append(parts, "not run: "+strings.Join(left, ", "))
	}
	return strings.Join(parts, "; ")
}

// openloop tells what a call took, and cost, at a rate that all can serve.
func (r *results) openloop() string {
	var o struct {
		Rows  []row `json:"rows"`
		Peers map[string]struct {
			NotRun string `json:"not_run"`
		} `json:"peers"`
	}
	if !r.get("openloop", &o) || len(o.Rows) == 0 {
		return "not run"
	}
	var parts []string
	for _, row := range o.Rows {
		name := row.Name
		if name == "weft" {
			name = "**weft**"
		}
		parts = append(parts, fmt.Sprintf("%s %.2g ms, %.0f µs", name, row.P99/1e3, row.CPUPer1000))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Peers)) {
		if o.Peers[name].NotRun != "" {
			parts = append(parts, name+" not run")
		}
	}
	return "p99 from when a call was due, CPU of all processes per call: " + strings.Join(parts, "; ")
}

func (r *results) picked() string {
	var p struct {
		Picks []pick `json:"picks"`
	}
	if !r.get("pick", &p) {
		return "not run"
	}
	low, high, allocs, full := 0.0, 0.0, 0.0, 0.0
	for _, one := range p.Picks {
		allocs = max(allocs, one.Allocs)
		if !one.Subset {
			full = max(full, one.NS)
			continue
		}
		if low == 0 || one.NS < low {
			low = one.NS
		}
		high = max(high, one.NS)
	}
	return fmt.Sprintf("10 to 100,000 endpoints, default subset: %.0f to %.0f ns, %.0f allocations; all connected: at most %.0f ns", low, high, allocs, full)
}

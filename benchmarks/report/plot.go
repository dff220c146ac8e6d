package main

import (
	"fmt"
	"html"
	"strings"
)

// plot is horizontal bars.
type plot struct {
	bench, file, title string
	unit               string
	format             string // of a value
	bars               []bar
}

type bar struct {
	name  string
	value float64
	ours  bool
}

const (
	plotWidth = 720
	plotLeft  = 170
	plotRight = 90
	barHeight = 22
	barEach   = 30
	plotTop   = 48
)

// svg draws it; colours suit a light and a dark page.
func (p plot) svg() string {
	most := 0.0
	for _, b := range p.bars {
		most = max(most, b.value)
	}
	if most == 0 {
		most = 1
	}
	height := plotTop + barEach*len(p.bars) + 10
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s" font-family="sans-serif" font-size="13">`+"\n",
		plotWidth, height, plotWidth, height, html.EscapeString(p.title))
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n"+`<text x="16" y="26" font-size="15" font-weight="bold" fill="#1f2328">%s</text>`+"\n", html.EscapeString(p.title))
	for i, b := range p.bars {
		y, colour := plotTop+barEach*i, "#8c959f"
		if b.ours {
			colour = "#0969da"
		}
		w := max(1, b.value/most*float64(plotWidth-plotLeft-plotRight))
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end" fill="#1f2328">%s</text>`+"\n", plotLeft-8, y+16, html.EscapeString(b.name))
		fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n", plotLeft, y, w, barHeight, colour)
		fmt.Fprintf(&s, `<text x="%.1f" y="%d" fill="#1f2328">%s</text>`+"\n", float64(plotLeft)+w+6, y+16, html.EscapeString(fmt.Sprintf(p.format, b.value)+p.unit))
	}
	s.WriteString("</svg>\n")
	return s.String()
}

// row is one of overhead's.
type row struct {
	Load       string  `json:"load"`
	Callers    int     `json:"callers"`
	Name       string  `json:"name"`
	Ratio      float64 `json:"ratio"`
	P99        float64 `json:"p99_us"`
	Allocs     float64 `json:"allocs"`
	CPUPer1000 float64 `json:"cpu_ms_per_1000"`
	RSS        float64 `json:"rss_mb"`
}

// plots are those of which there are results.
func (r *results) plots() (list []plot) {
	var o struct {
		Callers int   `json:"callers"`
		Rows    []row `json:"rows"`
	}
	if r.get("overhead", &o) {
		for _, p := range []struct {
			file, title, unit, format string
			value                     func(row) float64
		}{
			{"overhead-rps", "Calls per second, of those of bare grpc-go", "", "%.2f", func(r row) float64 { return r.Ratio }},
			{"overhead-cpu", "Processor time of all processes, per call", " µs", "%.0f", func(r row) float64 { return r.CPUPer1000 }},
			{"overhead-allocs", "Allocations per call, client, server and sidecars in Go", "", "%.0f", func(r row) float64 { return r.Allocs }},
			{"overhead-memory", "Resident memory of all processes", " MB", "%.0f", func(r row) float64 { return r.RSS }},
		} {
			one := plot{bench: "overhead", file: p.file + ".svg", title: fmt.Sprintf("%s; %d callers", p.title, o.Callers), unit: p.unit, format: p.format}
			for _, row := range o.Rows {
				if row.Load == "unary" && row.Callers == o.Callers {
					one.bars = append(one.bars, bar{row.Name, p.value(row), row.Name == "weft"})
				}
			}
			if len(one.bars) > 0 {
				list = append(list, one)
			}
		}
	}
	if o.Rows = nil; r.get("openloop", &o) && len(o.Rows) > 0 {
		one := plot{bench: "openloop", file: "openloop-p99.svg", title: "p99 at a fixed rate, from when a call was due", unit: " ms", format: "%.1f"}
		for _, row := range o.Rows {
			one.bars = append(one.bars, bar{row.Name, row.P99 / 1e3, row.Name == "weft"})
		}
		list = append(list, one)
	}
	var s struct {
		P99   float64 `json:"p99_ms"`
		Best  string  `json:"best_other"`
		Other float64 `json:"best_other_p99_ms"`
	}
	if r.get("slow", &s) {
		list = append(list, plot{bench: "slow", file: "slow.svg", title: "p99 with one of 50 replicas 10 times slower", unit: " ms", format: "%.0f",
			bars: []bar{{s.Best, s.Other, false}, {"weft", s.P99, true}}})
	}
	var f struct {
		MeanNaive float64 `json:"mean_naive_ms"`
		MeanWeft  float64 `json:"mean_weft_ms"`
		GoodNaive float64 `json:"goodput_naive"`
		GoodWeft  float64 `json:"goodput_weft"`
	}
	if r.get("fintrust", &f) {
		list = append(list,
			plot{bench: "fintrust", file: "fintrust-latency.svg", title: "Mean latency of a payment, nearer replicas degraded", unit: " ms", format: "%.0f",
				bars: []bar{{"round_robin", f.MeanNaive, false}, {"weft", f.MeanWeft, true}}},
			plot{bench: "fintrust", file: "fintrust-goodput.svg", title: "Payments done in time, in a brown-out of the nearer replicas", unit: " %", format: "%.0f",
				bars: []bar{{"round_robin", 100 * f.GoodNaive, false}, {"weft", 100 * f.GoodWeft, true}}})
	}
	return list
}

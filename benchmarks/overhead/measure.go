package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
)

// row is what a contender came to under one load.
type row struct {
	Load       string  `json:"load"` // "unary", "streams", "http 1.1", "http 2"
	Callers    int     `json:"callers"`
	Name       string  `json:"name"`
	Ratio      float64 `json:"ratio"`
	RPS        float64 `json:"rps"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	Allocs     float64 `json:"allocs"`
	Bytes      float64 `json:"bytes"`
	ClientCPU  float64 `json:"client_cpu_us"`
	CPUPer1000 float64 `json:"cpu_ms_per_1000"`
	RSS        float64 `json:"rss_mb"`
	Private    float64 `json:"private_mb"` // of RSS, without the pages of programs
}

// plan is how a group is measured.
type plan struct {
	rounds int
	slice  time.Duration
	rate   float64
}

// group are contenders that take turns; the first is what the others are
// compared with.
type group struct {
	load  string
	pairs []*contest.Pair
}

// measure runs the rounds. Who goes first alternates, so that a trend of the machine
// cancels out. A pair that fails drops out: lost says why.
func (g *group) measure(ctx context.Context, callers int, p plan, progress io.Writer) (rows []row, lost map[string]error) {
	lost = map[string]error{}
	got := make(map[string][]contest.Slice)
	order := contest.Order{Callers: callers, For: p.slice, Stream: g.load == "streams", Rate: p.rate}
	for i := range p.rounds + 1 {
		turn := slices.Clone(g.pairs)
		if i%2 == 1 {
			slices.Reverse(turn)
		}
		for _, pair := range turn {
			if lost[pair.Name] != nil {
				continue
			}
			s, err := pair.Slice(ctx, order)
			if err == nil && s.Calls == 0 {
				err = fmt.Errorf("%s: no call ended within %v", pair.Name, p.slice)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				lost[pair.Name] = err
			} else if i > 0 { // the first is to warm up
				got[pair.Name] = append(got[pair.Name], s)
			}
		}
		fmt.Fprintf(progress, "\r%s, callers %d: round %d of %d ", g.load, callers, i, p.rounds)
	}
	fmt.Fprint(progress, "\r\033[K")
	base := got[g.pairs[0].Name]
	for _, pair := range g.pairs {
		if lost[pair.Name] == nil && lost[g.pairs[0].Name] == nil {
			rows = append(rows, summary(g.load, callers, pair, got[pair.Name], base))
		}
	}
	return rows, lost
}

// summary is of all slices of a contender, each against the one of the base in the
// same round.
func summary(load string, callers int, p *contest.Pair, all, base []contest.Slice) row {
	var ratios, rps []float64
	var calls, mallocs, bytes float64
	var client, cpu time.Duration
	var rss, private int64
	var lat contest.Histogram
	for i, s := range all {
		ratios, rps = append(ratios, s.RPS/base[i].RPS), append(rps, s.RPS)
		calls += float64(s.Calls)
		mallocs += s.Mallocs
		bytes += s.Bytes
		client += s.ClientCPU
		cpu += s.CPU
		rss, private = max(rss, s.RSS), max(private, s.Private)
		lat.Add(s.Lat)
	}
	us := func(d time.Duration) float64 { return round(float64(d)/1e3, 10) }
	return row{
		Load: load, Callers: callers, Name: p.Name,
		Ratio: round(median(ratios), 1000), RPS: round(median(rps), 1),
		P50: us(lat.Quantile(0.5)), P99: us(lat.Quantile(0.99)),
		Allocs: round(mallocs/calls, 10), Bytes: round(bytes/calls, 1),
		ClientCPU: us(time.Duration(float64(client) / calls)), CPUPer1000: round(cpu.Seconds()*1e3/calls*1e3, 10),
		RSS: round(float64(rss)/(1<<20), 10), Private: round(float64(private)/(1<<20), 10),
	}
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func round(v, to float64) float64 { return math.Round(v*to) / to }

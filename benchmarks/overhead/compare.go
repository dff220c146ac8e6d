package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
)

// result is the last line. The figures beside the lists are of calls by gRPC.
type result struct {
	Bench     string  `json:"bench"`
	Callers   int     `json:"callers"`
	Ratio     float64 `json:"ratio"`
	AllocBare float64 `json:"allocs_bare"`
	AllocWeft float64 `json:"allocs_weft"`
	P50Bare   float64 `json:"p50_bare_us"`
	P50Weft   float64 `json:"p50_weft_us"`
	P99Bare   float64 `json:"p99_bare_us"`
	P99Weft   float64 `json:"p99_weft_us"`
	// RatioTuned is of bare with the settings that weft has.
	RatioTuned float64 `json:"ratio_tuned"`
	// RatioDefaults and AllocDefaults are of weft with what is on by default.
	RatioDefaults  float64 `json:"ratio_defaults"`
	AllocDefaults  float64 `json:"allocs_defaults"`
	RatioNoBallast float64 `json:"ratio_no_ballast"`
	// RatioAlone is of bare in a program of its own; 0: not run.
	RatioAlone float64         `json:"ratio_alone,omitempty"`
	FirstCall  float64         `json:"first_call_ms"`
	GOGC       string          `json:"gogc"`
	Rate       float64         `json:"rate,omitempty"`
	On         []string        `json:"on"`
	Peers      map[string]peer `json:"peers"`
	// About says what is on, of all that ran.
	About map[string]string `json:"about"`
	Rows  []row             `json:"rows"`
}

// peer is one that was asked for: figures, or why there are none.
type peer struct {
	Ratio  float64 `json:"ratio,omitempty"`
	Allocs float64 `json:"allocs,omitempty"`
	NotRun string  `json:"not_run,omitempty"`
}

// compare runs all loads, and prints.
func (o *options) compare(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("1 KiB echo, mutual TLS, %s, %d cores, GOGC=%s, %d rounds of %v\n", runtime.Version(), runtime.NumCPU(), gogc(), o.rounds, o.slice)
	if o.rate > 0 {
		fmt.Printf("calls begin at %g per second; latency counts from when a call was due\n", o.rate)
	}
	r := &result{Bench: "overhead", GOGC: gogc(), Rate: o.rate, On: on(), Peers: map[string]peer{}, About: map[string]string{}}
	if o.loads["unary"] || o.loads["streams"] {
		if err := o.grpc(ctx, self, r); err != nil {
			return err
		}
	}
	if o.loads["http"] {
		for _, version := range []string{"1.1", "2"} {
			g, err := startAll(ctx, "http "+version, own(self, "net/http "+version), own(self, "weft http "+version), own(self, "net/http "+version+ballast))
			if err != nil {
				return err
			}
			err = o.run(ctx, g, r, g.load)
			g.close()
			if err != nil {
				return err
			}
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// grpc measures calls and streams with the same processes.
func (o *options) grpc(ctx context.Context, self string, r *result) error {
	g, err := startAll(ctx, "unary", own(self, "bare"), own(self, "weft"), own(self, tuned), own(self, plainWeft), own(self, noBallast))
	if err != nil {
		return err
	}
	defer g.close()
	r.FirstCall = round(g.pairs[1].First.Seconds()*1e3, 100)
	for _, p := range g.pairs {
		fmt.Printf("%s: %s; first call %.1f ms\n", p.Name, p.About, p.First.Seconds()*1e3)
	}
	for _, s := range o.specs(ctx, self) {
		if s.err == nil {
			var p *contest.Pair
			if p, s.err = contest.Start(ctx, s.Spec); s.err == nil {
				fmt.Printf("%s: %s\n", p.Name, p.About)
				g.pairs = append(g.pairs, p)
			}
		}
		if s.err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fmt.Printf("%s: not run: %v\n", s.Name, s.err)
			r.Peers[s.Name] = peer{NotRun: s.err.Error()}
		}
	}
	for _, load := range []string{"unary", "streams"} {
		if g.load = load; o.loads[load] {
			if err := o.run(ctx, g, r, load); err != nil {
				return err
			}
		}
	}
	return nil
}

// run measures one load with each number of callers.
func (o *options) run(ctx context.Context, g *group, r *result, load string) error {
	p := o.plan
	for _, pair := range g.pairs {
		r.About[pair.Name] = pair.About
	}
	if load == "streams" {
		p.rate = 0 // a stream's messages are in order
	}
	for _, n := range o.callers {
		rows, lost := g.measure(ctx, n, p, os.Stderr)
		if err := ctx.Err(); err != nil {
			return err
		}
		for name, err := range lost {
			if !contains(peerNames(), name) {
				return err // what is compared
			}
			fmt.Printf("%s: not run: %v\n", name, err)
			r.Peers[name] = peer{NotRun: err.Error()}
			g.pairs = slices.DeleteFunc(g.pairs, func(p *contest.Pair) bool {
				if p.Name == name {
					p.Close()
				}
				return p.Name == name
			})
		}
		r.take(rows)
		show(load, n, rows)
	}
	return nil
}

func (r *result) take(rows []row) {
	for i := range rows {
		row := rows[i]
		switch {
		case row.Load != "unary":
		case row.Name == "bare":
			r.AllocBare, r.P50Bare, r.P99Bare = row.Allocs, row.P50, row.P99
		case row.Name == "weft":
			r.Callers, r.Ratio = row.Callers, row.Ratio
			r.AllocWeft, r.P50Weft, r.P99Weft = row.Allocs, row.P50, row.P99
		case row.Name == tuned:
			r.RatioTuned = row.Ratio
		case row.Name == plainWeft:
			r.RatioDefaults, r.AllocDefaults = row.Ratio, row.Allocs
		case row.Name == noBallast:
			r.RatioNoBallast = row.Ratio
		case row.Name == alone:
			r.RatioAlone = row.Ratio
		default:
			r.Peers[row.Name] = peer{Ratio: row.Ratio, Allocs: row.Allocs}
		}
		r.Rows = append(r.Rows, row)
	}
}

func show(load string, callers int, rows []row) {
	fmt.Printf("\n%s, callers %d%22s %7s %9s %9s %8s %8s %11s %12s %8s %10s\n", load, callers, "ratio", "rps", "p50 µs", "p99 µs", "allocs", "bytes", "client CPU", "CPU of all", "memory", "private")
	for _, r := range rows {
		fmt.Printf("  %-24s %12.3f %7.0f %9.1f %9.1f %8.1f %8.0f %8.1f µs %9.1f µs %5.1f MB %7.1f MB\n",
			r.Name, r.Ratio, r.RPS, r.P50, r.P99, r.Allocs, r.Bytes, r.ClientCPU, r.CPUPer1000, r.RSS, r.Private)
	}
}

func own(self, name string) contest.Spec { return contest.Spec{Name: name, Exe: self, As: name} }

func startAll(ctx context.Context, load string, specs ...contest.Spec) (*group, error) {
	g := &group{load: load}
	for _, s := range specs {
		p, err := contest.Start(ctx, s)
		if err != nil {
			g.close()
			return nil, err
		}
		g.pairs = append(g.pairs, p)
	}
	return g, nil
}

func (g *group) close() {
	for _, p := range g.pairs {
		p.Close()
	}
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

func gogc() string {
	if v := os.Getenv("GOGC"); v != "" {
		return v
	}
	return "100"
}

// Slow lets one of 50 replicas be ten times slower than the others, and measures
// what callers see of it. It compares grpc-go's round_robin and least_request,
// Weft's peak EWMA policy alone, and members of the mesh with their default policy.
//
//	go run ./slow [-replicas 50] [-clients 20] [-load 0.7] [-slow 10] [-warm 10s] [-span 30s] [-seeds 3]
//
// All of them are real gRPC on pipes in memory, in virtual time (testing/synctest),
// so that only what is waited for takes time. A replica works on one call at a
// time, first come first served, for a time that is exponentially distributed with
// mean 10 ms; the round trip is 0.5 ms. Each client makes calls at random times
// (Poisson), whatever becomes of those before; a call has 1 s. -load is the part of
// what the replicas could do if none were slow. The first -warm is not measured,
// but its errors are printed. An error counts as a call of 1 s.
//
// The last line is JSON; p99_ratio is the 99th percentile of the mesh over that of
// the best of the other three.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/virtual"
)

// scene is one run.
type scene struct {
	replicas, clients int
	share, slow       float64
	warm, span        time.Duration
	seeds             int
}

func (s scene) check() error {
	if s.replicas < 2 || s.replicas > 1000 || s.clients < 1 || s.seeds < 1 {
		return errors.New("-replicas must be 2 to 1000, -clients and -seeds at least 1")
	}
	if !(s.share > 0 && s.share < 2) || !(s.slow >= 1 && s.slow <= 1000) {
		return errors.New("-load must be above 0 and below 2, -slow 1 to 1000")
	}
	if s.warm < 0 || s.span < time.Second {
		return errors.New("-warm must not be negative, -span at least 1s")
	}
	return nil
}

func main() {
	s := scene{}
	flag.IntVar(&s.replicas, "replicas", 50, "replicas of the service")
	flag.IntVar(&s.clients, "clients", 20, "clients, each with connections of its own")
	flag.Float64Var(&s.share, "load", 0.7, "offered part of what the replicas could do if none were slow")
	flag.Float64Var(&s.slow, "slow", 10, "how many times slower one replica is")
	flag.DurationVar(&s.warm, "warm", 10*time.Second, "time before what is measured")
	flag.DurationVar(&s.span, "span", 30*time.Second, "measured time")
	flag.IntVar(&s.seeds, "seeds", 3, "runs of each kind, each with another seed")
	flag.Parse()
	virtual.Main("slow", func(t *testing.T) error { return run(t, s) })
}

// result is the last line.
type result struct {
	Bench     string  `json:"bench"`
	Ratio     float64 `json:"p99_ratio"`
	Errors    int     `json:"errors"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	SlowShare float64 `json:"slow_share"`
	Best      string  `json:"best_other"`
	BestP99   float64 `json:"best_other_p99_ms"`
	Calls     int     `json:"calls"`
}

func run(t *testing.T, s scene) error {
	if err := s.check(); err != nil {
		return err
	}
	fmt.Printf("%d replicas, one %g times slow; %d clients, %.0f %% load; deadline %v; %d seeds of %v; %s, %d cores, virtual time\n\n",
		s.replicas, s.slow, s.clients, 100*s.share, deadline, s.seeds, s.span, runtime.Version(), runtime.NumCPU())
	fmt.Printf("%-14s %5s %9s %9s %9s  %7s %10s  %s\n", "client", "seed", "p50 ms", "p99 ms", "p99.9 ms", "errors", "slow node", "errors before")
	r := result{Bench: "slow"}
	for _, k := range kinds() {
		var sum outcome
		for seed := range uint64(s.seeds) {
			fmt.Fprintf(os.Stderr, "%s, seed %d of %d\n", k.name, seed+1, s.seeds)
			o, err := simulate(t, s, k, seed+1)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			o.print(k.name, fmt.Sprint(seed+1))
			sum.add(o)
		}
		sum.print(k.name, "all")
		if sum.firstError != nil {
			fmt.Fprintf(os.Stderr, "%s: the first error: %v\n", k.name, sum.firstError)
		}
		r.take(k.name, &sum)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

func (o *outcome) print(name, seed string) {
	fmt.Printf("%-14s %5s %9.1f %9.1f %9.1f  %7d %8.3f %%  %d\n", name, seed,
		ms(o.quantile(0.5)), ms(o.quantile(0.99)), ms(o.quantile(0.999)), o.errors, 100*o.slowShare(), o.early)
}

// take notes what a kind came to; weft comes last.
func (r *result) take(name string, o *outcome) {
	p99 := ms(o.quantile(0.99))
	if name != "weft" {
		if r.Best == "" || p99 < r.BestP99 {
			r.Best, r.BestP99 = name, round(p99)
		}
		return
	}
	r.P50, r.P99, r.P999 = round(ms(o.quantile(0.5))), round(p99), round(ms(o.quantile(0.999)))
	r.Errors, r.SlowShare, r.Calls = o.errors, round(o.slowShare()), len(o.took)
	r.Ratio = round(p99 / r.BestP99)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func round(v float64) float64 { return float64(int(v*1e4+0.5)) / 1e4 }

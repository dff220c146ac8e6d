// Telemetry measures what the mesh's metrics and traces add to a unary gRPC call: the
// same call, of one attempt, through one pair of members that measure nothing, one with
// metrics, one whose caller alone has metrics, one with metrics and traces of which none
// is sampled, one with 1 % of traces, and one within a trace that is not sampled. The last
// one measures nothing and sends the header of such a trace: that is gRPC's part of it.
//
//	go run ./telemetry [-rounds 25] [-slice 200ms]
//
// The pairs take turns in short slices, so that a noisy machine slows all; ns is the
// median over the rounds of the difference to the silent pair, both ends together, and
// noise how far the rounds leave that median open (95 %). A difference within it is below
// what the run can tell: what the code costs by itself is measured without a network by
// go test -run '^$' -bench 'Metrics|Unsampled' ../mesh, and that is the figure that counts.
// Allocations are counted in the one process and are exact. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 25, "rounds; each has one slice of each pair")
	slice := flag.Duration("slice", 200*time.Millisecond, "length of a slice")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *slice); err != nil {
		fmt.Fprintln(os.Stderr, "telemetry:", err)
		os.Exit(1)
	}
}

// result is what one pair costs.
type result struct {
	NS     float64 `json:"ns"`       // per call, above the silent pair
	Noise  float64 `json:"noise_ns"` // NS is known to so much
	Ratio  float64 `json:"ratio"`    // calls per second, of the silent pair's
	Allocs float64 `json:"allocs"`   // per call, above the silent pair

	calls float64 // that this was measured over
}

func run(ctx context.Context, rounds int, slice time.Duration) error {
	got, base, err := measure(ctx, rounds, slice)
	if err != nil {
		return err
	}
	fmt.Printf("unary echo within one process, mutual TLS, %s, %d cores, %d rounds of %v\n", runtime.Version(), runtime.NumCPU(), rounds, slice)
	fmt.Printf("%-21s %8.0f ns/call   %.2f allocs/call, client and server\n", modes[0].name, base.NS, base.Allocs)
	for _, m := range modes[1:] {
		r := got[m.name]
		fmt.Printf("%-21s %+8.0f ns/call (±%.0f)   %+.2f allocs/call   ratio %.3f\n", m.name, r.NS, r.Noise, r.Allocs, r.Ratio)
	}
	line, err := json.Marshal(struct {
		Bench string            `json:"bench"`
		Adds  map[string]result `json:"adds"`
	}{"telemetry", got})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// measure returns what each mode adds to the first one, and what that costs.
func measure(ctx context.Context, rounds int, slice time.Duration) (adds map[string]result, base result, err error) {
	pairs := make([]*pair, len(modes))
	for i, m := range modes {
		if pairs[i], err = start(ctx, m); err != nil {
			return nil, base, fmt.Errorf("%s: %w", m.name, err)
		}
		defer pairs[i].close()
	}
	times, allocs := make([][]float64, len(modes)), make([]float64, len(modes))
	calls := make([]float64, len(modes))
	for round := range rounds + 1 {
		for k := range modes {
			i := (k + round) % len(modes) // nobody is always first
			ns, mallocs, n, err := pairs[i].slice(ctx, slice)
			if err != nil {
				return nil, base, err
			}
			if round == 0 {
				continue // warm-up
			}
			times[i] = append(times[i], ns)
			allocs[i], calls[i] = allocs[i]+mallocs, calls[i]+n
		}
	}
	base = result{NS: median(times[0]), Allocs: allocs[0] / calls[0]}
	adds = map[string]result{}
	for i, m := range modes[1:] {
		var more, ratio []float64
		for k, ns := range times[i+1] {
			more, ratio = append(more, ns-times[0][k]), append(ratio, times[0][k]/ns)
		}
		adds[m.name] = result{NS: math.Round(median(more)), Noise: math.Ceil(noise(more)), Ratio: round(median(ratio), 1000), Allocs: round(allocs[i+1]/calls[i+1]-base.Allocs, 100), calls: min(calls[i+1], calls[0])}
	}
	return adds, base, nil
}

func round(v, to float64) float64 { return math.Round(v*to) / to }

// noise is how far the median of what was drawn may be from that of all that could have
// been, with 95 %: by the ranks between which the latter lies, whatever the distribution.
// With less than six rounds there are no such ranks, and it is all that was seen.
func noise(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := float64(len(v))
	k := max(0, int((n-1.96*math.Sqrt(n))/2)) // as many are below, and above
	m := median(v)
	return max(m-v[k], v[len(v)-1-k]-m)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

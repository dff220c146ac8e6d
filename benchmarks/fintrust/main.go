// Fintrust is payments in two clouds 80 ms apart: a payment needs two checks of a
// service, of the payer and of the payee, one after the other, and is good when both
// are answered in time. The service has replicas in both clouds, and those nearer to
// half of the clients become slower. It compares members of the mesh with naive
// round robin over all replicas, by grpc-go. The mesh runs with its default policy, and
// once more with attempts limited to 200 ms, without which a call that never comes
// back leaves no time for another.
//
//	go run ./fintrust [-replicas 4] [-clients 4] [-load 0.35] [-apart 80ms]
//	                  [-degraded 1.5] [-brown 10] [-checks 2] [-span 30s] [-seeds 7]
//
// There are two scenes. In the first the nearer replicas are -degraded times
// slower, and the mean latency of payments is compared; in the second -brown times,
// which leaves them a fraction of their load, and goodput is compared: payments per
// second that are done within the deadline of 500 ms. A payment that is not counts
// with its deadline. All is real gRPC on pipes in memory, in virtual time
// (testing/synctest); a replica works on one check at a time, for an exponentially
// distributed time with mean 10 ms; -apart is a round trip.
//
// A seed gives the payments, their times and how long the checks take, the same for
// each kind; only the order in which requests reach a replica, and the draws of the
// clients (which replica, which backoff), differ from run to run. Round robin is the
// same to a hundredth each time. In the brown-out the mesh with its default policy is
// not: a call that its own deadline ends blames nobody, so that it depends on chance
// how soon enough replicas are found out to be silent, or the breaker sees servers
// refuse, and the slow cloud is left. So each seed is printed, and the last line has
// medians over the seeds, with the least and the most.
//
// The last line is JSON: latency_ratio is the mean latency of the mesh over that of
// round robin (the claim of such systems is 42 % less: 0.58), goodput_ratio the
// goodput of the mesh over that of round robin (the claim is 3.5). With n checks and
// half of the replicas useless, round robin is left with 1/2^n and a little: the ratio
// says as much about the number of checks as about the mesh, so that it is printed per
// check too, and beside it the ceiling, what a mesh without one failure would have.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/virtual"
)

// scene is one run.
type scene struct {
	replicas, clients int // of each cloud
	share             float64
	apart             time.Duration
	degraded, brown   float64
	checks            int
	warm, span        time.Duration
	seeds             int
	seed              uint64 // of one run
}

func (s scene) check() error {
	if s.replicas < 1 || s.replicas > 100 || s.clients < 1 || s.clients > 100 || s.checks < 1 || s.checks > 10 || s.seeds < 1 {
		return errors.New("-replicas and -clients must be 1 to 100, -checks 1 to 10, -seeds at least 1")
	}
	if !(s.share > 0 && s.share < 1) || !(s.degraded >= 1 && s.degraded <= 1000) || !(s.brown >= 1 && s.brown <= 1000) {
		return errors.New("-load must be above 0 and below 1, -degraded and -brown 1 to 1000")
	}
	if s.apart < 0 || s.apart > deadline || s.span < time.Second || s.warm < 0 {
		return fmt.Errorf("-apart must be 0 to %v, -span at least 1s, -warm not negative", deadline)
	}
	return nil
}

func main() {
	s := scene{}
	flag.IntVar(&s.replicas, "replicas", 4, "replicas in each cloud")
	flag.IntVar(&s.clients, "clients", 4, "clients in each cloud")
	flag.Float64Var(&s.share, "load", 0.35, "offered part of what all replicas could do if none were slow")
	flag.DurationVar(&s.apart, "apart", 80*time.Millisecond, "round trip between the clouds")
	flag.Float64Var(&s.degraded, "degraded", 1.5, "how many times slower the nearer replicas are when latency is compared")
	flag.Float64Var(&s.brown, "brown", 10, "how many times slower the nearer replicas are when goodput is compared")
	flag.IntVar(&s.checks, "checks", 2, "checks of a payment")
	flag.DurationVar(&s.warm, "warm", 5*time.Second, "time before what is measured")
	flag.DurationVar(&s.span, "span", 30*time.Second, "measured time")
	flag.IntVar(&s.seeds, "seeds", 7, "runs of each kind, each with another seed")
	flag.Parse()
	virtual.Main("fintrust", func(t *testing.T) error { return run(t, s) })
}

// result is the last line. The ratios are medians over the seeds.
type result struct {
	Bench        string  `json:"bench"`
	Seeds        int     `json:"seeds"`
	LatencyRatio float64 `json:"latency_ratio"`
	GoodputRatio float64 `json:"goodput_ratio"`
	GoodputMin   float64 `json:"goodput_ratio_min"`
	GoodputMax   float64 `json:"goodput_ratio_max"`
	Ceiling      float64 `json:"goodput_ratio_ceiling"`
	PerCheck     float64 `json:"goodput_ratio_per_check"`
	MeanNaive    float64 `json:"mean_naive_ms"`
	MeanWeft     float64 `json:"mean_weft_ms"`
	GoodNaive    float64 `json:"goodput_naive"`
	GoodWeft     float64 `json:"goodput_weft"`
	// Limited are those of a mesh whose attempts are limited to 200 ms.
	LimitedLatency float64 `json:"latency_ratio_limited"`
	LimitedGoodput float64 `json:"goodput_ratio_limited"`
	LimitedMin     float64 `json:"goodput_ratio_limited_min"`
	LimitedMax     float64 `json:"goodput_ratio_limited_max"`
}

func run(t *testing.T, s scene) error {
	r, err := compare(t, s)
	if err != nil {
		return err
	}
	fmt.Printf("\nmedians of %d seeds: mean latency %+.0f %% (claim -42 %%), goodput in the brown-out %.2fx, %.2f to %.2f (claim 3.5x, at most %.2fx is possible; %.2fx for each of %d checks); attempts limited to %v: %+.0f %% and %.2fx, %.2f to %.2f\n",
		r.Seeds, 100*(r.LatencyRatio-1), r.GoodputRatio, r.GoodputMin, r.GoodputMax, r.Ceiling, r.PerCheck, s.checks,
		attempt, 100*(r.LimitedLatency-1), r.LimitedGoodput, r.LimitedMin, r.LimitedMax)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

func compare(t *testing.T, s scene) (r result, err error) {
	if err := s.check(); err != nil {
		return r, err
	}
	fmt.Printf("2 clouds %v apart, %d replicas and %d clients in each, %.0f %% load, %d checks a payment, deadline %v; %v after %v, %d seeds; %s, %d cores, virtual time\n\n",
		s.apart, s.replicas, s.clients, 100*s.share, s.checks, deadline, s.span, s.warm, s.seeds, runtime.Version(), runtime.NumCPU())
	fmt.Printf("%-8s %-12s %6s %9s %9s %9s %10s\n", "nearer", "client", "seed", "payments", "mean ms", "p99 ms", "goodput")
	got := map[string][]outcome{} // by phase and kind, of each seed
	for _, phase := range []struct {
		name   string
		slower float64
	}{{"degraded", s.degraded}, {"brown", s.brown}} {
		for _, k := range kinds() {
			var all outcome
			for seed := range s.seeds {
				s.seed = uint64(seed + 1)
				one, err := simulate(t, s, k, phase.slower)
				if err != nil {
					return r, fmt.Errorf("%s, %s, seed %d: %w", phase.name, k.name, s.seed, err)
				}
				all.add(one)
				got[phase.name+k.name] = append(got[phase.name+k.name], one)
				one.print(phase.name, k.name, fmt.Sprint(s.seed))
			}
			all.print(phase.name, k.name, "all")
		}
	}
	return conclude(s, got)
}

func (o outcome) print(phase, kind, seed string) {
	fmt.Printf("%-8s %-12s %6s %9d %9.1f %9.1f %8.2f %%\n", phase, kind, seed, o.payments, ms(o.mean), ms(o.p99), 100*o.good)
}

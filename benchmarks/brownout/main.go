// Brownout lets the last service of a chain of four fail half of its calls for a
// minute, and counts what reaches it and how soon callers are served again. It
// compares members of the mesh with grpc-go's built-in retries, 3 attempts in
// every layer.
//
//	go run ./brownout [-rate 540] [-fail 0.5] [-warm 10s] [-fault 60s] [-after 15s]
//
// A caller calls a, a calls b, b calls c, c calls d, over real gRPC with mutual
// TLS, on pipes in memory and in virtual time (testing/synctest), so that only
// what is waited for takes time. d has three instances, which can do 900 calls/s
// together; a failure takes as long as a success. Calls are idempotent, have 1 s
// each, and begin at a fixed rate whatever becomes of those before. The last line
// is JSON; recovered_s is how long after the end of the fault the share of good
// answers was below 95 % for the last time.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// scene is one run.
type scene struct {
	rate               float64 // calls per second
	fail               float64 // share of d's calls that fail during the fault
	warm, fault, after time.Duration
	seed               uint64
}

func main() {
	s := scene{}
	flag.Float64Var(&s.rate, "rate", 0.6*capacity, "calls per second")
	flag.Float64Var(&s.fail, "fail", 0.5, "share of calls that fail at d during the fault")
	flag.DurationVar(&s.warm, "warm", 10*time.Second, "time before the fault")
	flag.DurationVar(&s.fault, "fault", time.Minute, "time of the fault")
	flag.DurationVar(&s.after, "after", 15*time.Second, "time after the fault")
	flag.Uint64Var(&s.seed, "seed", 1, "of which calls fail")
	flag.Parse()
	// Virtual time is to be had inside of a test only.
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "brownout", F: func(t *testing.T) {
		if err := run(t, s); err != nil {
			fmt.Fprintln(os.Stderr, "brownout:", err)
			os.Exit(1)
		}
		os.Exit(0) // without the words of a test
	}}}, nil, nil)
}

// result is the last line.
type result struct {
	Bench     string  `json:"bench"`
	Amp       float64 `json:"amplification"`
	Recovered float64 `json:"recovered_s"`
	During    float64 `json:"goodput_during"`
	NaiveAmp  float64 `json:"amplification_naive"`
	NaiveRec  float64 `json:"recovered_s_naive"`
	NaiveDur  float64 `json:"goodput_during_naive"`
}

func run(t *testing.T, s scene) error {
	if !(s.rate > 0) || !(s.fail >= 0 && s.fail <= 1) || s.warm < time.Second || s.fault < time.Second || s.after < time.Second {
		return errors.New("-rate must be positive, -fail from 0 to 1, -warm, -fault and -after at least 1s")
	}
	fmt.Printf("caller > a > b > c > d; %.0f calls/s, d can do %.0f; d fails %.0f %% for %v; deadline %v; %s, %d cores, virtual time\n",
		s.rate, capacity, 100*s.fail, s.fault, deadline, runtime.Version(), runtime.NumCPU())
	fmt.Printf("weft:  default policy, calls idempotent\nnaive: %s\n\n", naiveSetting)
	fmt.Printf("%-6s %8s %11s %13s  %13s  %12s  %11s  %9s\n", "client", "calls", "d got", "amplification", "good before", "good during", "good after", "recovered")
	r := result{Bench: "brownout"}
	for _, kind := range []struct {
		name             string
		join             joiner
		amp, during, rec *float64
	}{{"weft", weft, &r.Amp, &r.During, &r.Recovered}, {"naive", naive, &r.NaiveAmp, &r.NaiveDur, &r.NaiveRec}} {
		began := time.Now()
		o, err := simulate(t, s, kind.join)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		fmt.Printf("%-6s %8d %11d %13.3f  %11.2f %%  %10.2f %%  %9.2f %%  %7.2f s  (took %.1f s)\n", kind.name, o.calls, o.leaf, o.amplification,
			100*o.before, 100*o.during, 100*o.after, o.recovered.Seconds(), time.Since(began).Seconds())
		*kind.amp, *kind.during, *kind.rec = round(o.amplification), round(o.during), o.recovered.Seconds()
		if o.before < 0.999 {
			return fmt.Errorf("%s: only %.2f %% of calls were good before the fault, which then shows nothing", kind.name, 100*o.before)
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

func round(v float64) float64 { return float64(int(v*1e4+0.5)) / 1e4 }

// joiner makes a member of the chain's mesh.
type joiner func(ctx context.Context, c *chain, service string) (*member, error)

// Overload offers a service from half of what it can do to three times of it, in
// four classes of equal size, and counts what is answered in time.
//
//	go run ./overload [-loads 0.5,1,1.5,2,3] [-warm 10s] [-span 20s] [-seed 1]
//
// The members of a mesh that are called are two, each works on eight calls at a
// time, for a time that is exponentially distributed with mean 10 ms: 1600 calls/s
// together. What waits is worked on whether or not its caller still waits. Four
// members call at random times (Poisson), whatever becomes of calls before; a call
// has 200 ms. They have the default policy, with its budget, and a Throttle. All is
// real gRPC with mutual TLS on pipes in memory, in virtual time (testing/synctest).
//
// Compared are servers without any protection, with the default refusal of what
// is too late, and with that and an adaptive ConcurrencyLimit, Gradient2 and Vegas.
// Vegas is what counts: the last line is JSON; goodput_ratio is its goodput at the
// highest load over that of its best load, top_success the good share of the class
// critical_plus at its worst load.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/virtual"
)

// scene is what all kinds are offered.
type scene struct {
	loads      []float64 // in parts of the capacity, ascending
	warm, span time.Duration
	seed       uint64
}

func main() {
	s := scene{}
	loads := flag.String("loads", "0.5,1,1.5,2,3", "offered loads, in parts of the capacity")
	flag.DurationVar(&s.warm, "warm", 10*time.Second, "time before what is measured")
	flag.DurationVar(&s.span, "span", 20*time.Second, "measured time of each load")
	flag.Uint64Var(&s.seed, "seed", 1, "of times and classes")
	flag.Parse()
	virtual.Main("overload", func(t *testing.T) error {
		var err error
		if s.loads, err = parseLoads(*loads); err != nil {
			return err
		}
		return run(t, s)
	})
}

func parseLoads(text string) (loads []float64, err error) {
	for _, f := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil || !(v > 0 && v <= 20) {
			return nil, fmt.Errorf("-loads has %q: write numbers above 0 and at most 20, as in 0.5,1,3", f)
		}
		loads = append(loads, v)
	}
	slices.Sort(loads)
	return loads, nil
}

func run(t *testing.T, s scene) error {
	if s.warm < 0 || s.span < time.Second {
		return errors.New("-warm must not be negative, -span at least 1s")
	}
	fmt.Printf("%d replicas can do %.0f calls/s; %d clients; 4 classes of equal size; deadline %v; %s, %d cores, virtual time\n\n",
		replicas, capacity, clients, deadline, runtime.Version(), runtime.NumCPU())
	fmt.Printf("%-10s %7s %10s   %-35s %10s %8s\n", "servers", "offered", "goodput/s", "answered in time, by class", "top p99 ms", "refused")
	r := result{Bench: "overload"}
	for _, k := range kinds() {
		all, err := s.sweep(t, k, func(o *outcome, load float64) { o.print(k.name, load) })
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		r.take(k.name, all)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// sweep offers all loads to one kind.
func (s scene) sweep(t *testing.T, k kind, show func(*outcome, float64)) (all []outcome, err error) {
	for _, load := range s.loads {
		fmt.Fprintf(os.Stderr, "%s, load %g\n", k.name, load)
		o, err := simulate(t, s, k, load)
		if err != nil {
			return nil, err
		}
		show(&o, load)
		all = append(all, o)
	}
	return all, nil
}

// Drills breaks the services of a small mesh for real, as the simulated drills of
// mesh/internal/drills do in virtual time, and holds it to the same promises: real
// Consul, one federated datacenter for each of three clouds, each endpoint a process
// of its own, killed, stopped, restarted, made late or put behind a black hole. It
// needs no privileges.
//
//	go run ./drills [-only D6,D21]
//
// Each line is a drill: what it did, and each figure with what is promised of it in
// brackets. A ledger of all requests, the callers' and the servers', is held against
// the invariants that hold in all drills. It exits with 1 if a promise is broken.
// The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if text := os.Getenv(roleEnv); text != "" {
		// The terminal's interrupt is the parent's affair.
		if err := serve(context.Background(), text); err != nil {
			fmt.Fprintln(os.Stderr, "drills: endpoint:", err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "names of the drills to run, separated by commas; empty: all")
	flag.Parse()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "drills:", err)
		os.Exit(1)
	}
}

// choose returns the drills that are named.
func choose(only string) ([]scene, error) {
	if only == "" {
		return scenes, nil
	}
	var out []scene
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(scenes, func(s scene) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no drill %q", name)
		}
		out = append(out, scenes[i])
	}
	return out, nil
}

func run(ctx context.Context, only string) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	agents, err := consultest.Federate(ctx, consultest.Config{Progress: os.Stderr}, clouds...)
	if err != nil {
		return err
	}
	for _, a := range agents {
		defer a.Stop()
	}
	began := time.Now()
	result := struct {
		Bench  string   `json:"bench"`
		Drills int      `json:"drills"`
		Broken []string `json:"broken"`
	}{Bench: "drills", Broken: []string{}}
	var broken []error
	for _, d := range chosen {
		figures, err := d.run(ctx, agents)
		verdict := "kept  "
		if err != nil {
			verdict = "BROKEN"
			result.Broken = append(result.Broken, d.name)
			broken = append(broken, fmt.Errorf("%s: %w", d.name, err))
		}
		result.Drills++
		fmt.Printf("%-4s %s %s: %s\n", d.name, verdict, d.what, strings.Join(figures, "; "))
		if ctx.Err() != nil {
			break
		}
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	fmt.Printf("took %v\n%s\n", time.Since(began).Round(time.Second), line)
	return errors.Join(broken...)
}

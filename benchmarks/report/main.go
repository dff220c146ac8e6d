// Report runs all benchmarks that fit the machine and writes what they came to:
// RESULTS.md with everything they printed, results.json with their last lines, and
// plots. What was not run is there too, with the reason.
//
//	go run ./report [-quick] [-only overhead,slow] [-dir .] [-timeout 30m]
//	go run ./report -readme
//
// -quick takes at most 10 minutes on 2 cores when the peers of overhead are built, and
// is less exact. With -only, the results of others stay as they are. -readme runs
// nothing: it writes the table of ../README.md, between its markers, from results.json.
// An idle machine is up to the caller; the load that it had is part of the report.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	o := options{}
	flag.BoolVar(&o.quick, "quick", false, "shorter runs")
	only := flag.String("only", "", "names of benchmarks; empty: all")
	flag.StringVar(&o.dir, "dir", ".", "the folder benchmarks of a clone")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Minute, "time for one benchmark")
	readme := flag.Bool("readme", false, "write the README's table from the results that are there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := o.choose(*only)
	switch {
	case err != nil:
	case *readme:
		err = o.readme()
	default:
		err = o.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

type options struct {
	quick   bool
	only    map[string]bool // empty: all
	dir     string
	timeout time.Duration
}

func (o *options) choose(only string) error {
	o.only = map[string]bool{}
	for _, name := range strings.FieldsFunc(only, func(r rune) bool { return r == ',' || r == ' ' }) {
		found := false
		for _, b := range benches() {
			found = found || b.name == name
		}
		if !found {
			return fmt.Errorf("-only: there is no benchmark %q", name)
		}
		o.only[name] = true
	}
	return nil
}

func (o *options) run(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(o.dir, "overhead")); err != nil {
		return errors.New("run it in the folder benchmarks, or name that with -dir")
	}
	r := &results{}
	if len(o.only) > 0 {
		if old, err := read(o.dir); err == nil {
			r = old
		}
	}
	m, err := thisMachine(ctx, o.dir)
	if err != nil {
		return err
	}
	for _, b := range benches() {
		if len(o.only) > 0 && !o.only[b.name] {
			continue
		}
		began := time.Now()
		fmt.Printf("%s … ", b.name)
		got := o.one(ctx, b, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		got.Machine, got.Quick, got.Took = m, o.quick, time.Since(began).Round(time.Second).Seconds()
		if got.NotRun != "" {
			fmt.Printf("not run: %s\n", got.NotRun)
		} else if got.Failed != "" {
			fmt.Printf("failed: %s\n", got.Failed)
		} else {
			fmt.Printf("%.0f s\n", got.Took)
		}
		r.put(got)
	}
	if err := r.write(o.dir); err != nil {
		return err
	}
	fmt.Printf("written: %s\n", filepath.Join(o.dir, "RESULTS.md"))
	return nil
}

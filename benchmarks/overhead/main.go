// Overhead compares a 1 KiB unary echo over bare grpc-go with mutual TLS against
// the same call through mesh.Dial and mesh.NewGRPCServer, in one pair of
// processes. Weft runs with its default policy: locality, load balancing, retries
// within a budget; and with metrics and 1 % of traces. Calls have a deadline on both sides.
//
//	go run ./overhead [-callers 1,32] [-rounds 25] [-slice 300ms]
//
// Bare and weft take turns in short slices, so that a noisy machine slows both;
// the ratio is the median over the rounds. Allocations are counted in both
// processes and are exact. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	callers := flag.String("callers", "1,32", "numbers of concurrent callers; the last one is reported")
	rounds := flag.Int("rounds", 25, "rounds; each has one slice of bare and one of weft")
	slice := flag.Duration("slice", 300*time.Millisecond, "length of a slice")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return compare(ctx, *callers, *rounds, *slice) }
	if isServer() {
		run = serve
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

// result is the last line.
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
	FirstCall float64 `json:"first_call_ms"`
}

func compare(ctx context.Context, list string, rounds int, slice time.Duration) error {
	p, err := startPair(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Printf("1 KiB unary echo, mutual TLS, %s, %d cores, GOGC=%s, %d rounds of %v\n",
		runtime.Version(), runtime.NumCPU(), gogc(), rounds, slice)
	fmt.Printf("first call through the mesh: %.1f ms\n", p.first.Seconds()*1e3)
	var last result
	for _, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 {
			return fmt.Errorf("-callers: %q is not a positive number", field)
		}
		if last, err = p.measure(ctx, n, rounds, slice); err != nil {
			return err
		}
		fmt.Printf("callers %3d: ratio %.3f   allocs/call bare %.1f weft %.1f   p50 %.0f / %.0f µs   p99 %.0f / %.0f µs\n",
			n, last.Ratio, last.AllocBare, last.AllocWeft, last.P50Bare, last.P50Weft, last.P99Bare, last.P99Weft)
	}
	line, err := json.Marshal(last)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

func gogc() string {
	if v := os.Getenv("GOGC"); v != "" {
		return v
	}
	return "100"
}

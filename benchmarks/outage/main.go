// Outage takes one of three clouds away and counts what callers notice: first its
// connections are refused, as when machines are killed, then it is a black hole:
// nothing is accepted and what was connected falls silent. It compares a member
// of the mesh with grpc-go's round_robin and its built-in retries, over the same
// kind of endpoints, with mutual TLS.
//
//	go run ./outage [-warm 3s] [-watch 12s]
//
// Calls are idempotent, have 1 s each, and begin at a fixed rate whatever becomes
// of those before. The first two clients use all three clouds at 60 % of their
// capacity, so that the two that remain have 90 % to do. "weft at home" runs in
// the cloud that is lost, has sent everything there, and offers 60 % of what one
// cloud can do. "weft, no limit" leaves AttemptTimeout at zero, so that a call which
// is sent into the black hole has no time for another attempt. The last line is
// JSON; its moved95_ms is the longest of weft's with AttemptTimeout.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"time"
)

func main() {
	warm := flag.Duration("warm", 3*time.Second, "time before the fault")
	after := flag.Duration("watch", 12*time.Second, "time from the fault to the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *warm, *after); err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
}

// result is the last line.
type result struct {
	Bench            string  `json:"bench"`
	Refused          float64 `json:"success_refused"`
	BlackHole        float64 `json:"success_blackhole"`
	Moved95          float64 `json:"moved95_ms"`
	RefusedHome      float64 `json:"success_refused_home"`
	BlackHoleHome    float64 `json:"success_blackhole_home"`
	RefusedBare      float64 `json:"success_refused_grpc"`
	BlackHoleBare    float64 `json:"success_blackhole_grpc"`
	Moved95Bare      float64 `json:"moved95_ms_grpc"`
	RefusedNoLimit   float64 `json:"success_refused_no_limit"`
	BlackHoleNoLimit float64 `json:"success_blackhole_no_limit"`
	Moved95NoLimit   float64 `json:"moved95_ms_no_limit"`
	AttemptTimeout   float64 `json:"attempt_timeout_ms"`
}

func run(ctx context.Context, warm, after time.Duration) error {
	if warm < time.Second || after < 2*steady {
		return errors.New("-warm must be at least 1s, -watch at least 2s")
	}
	lost := clouds[0]
	everywhere, home := 0.6*cloudCapacity*float64(len(clouds)), 0.6*cloudCapacity
	fmt.Printf("%d clouds of %d instances, %.0f calls/s each cloud; deadline %v; %s is lost after %v; %s, %d cores\n",
		len(clouds), instances, cloudCapacity, deadline, lost, warm, runtime.Version(), runtime.NumCPU())
	fmt.Print(settings())
	r := result{Bench: "outage", AttemptTimeout: ms(attemptTimeout)}
	clients := []struct {
		name          string
		dial          dialer
		rate          float64
		refused, hole *float64
		moved         *float64
	}{
		{"weft", weft("", attemptTimeout), everywhere, &r.Refused, &r.BlackHole, &r.Moved95},
		{"weft at home", weft(lost, attemptTimeout), home, &r.RefusedHome, &r.BlackHoleHome, &r.Moved95},
		{"weft, no limit", weft("", 0), everywhere, &r.RefusedNoLimit, &r.BlackHoleNoLimit, &r.Moved95NoLimit},
		{"grpc-go", bare, everywhere, &r.RefusedBare, &r.BlackHoleBare, &r.Moved95Bare},
	}
	for _, what := range []fault{refused, blackHole} {
		fmt.Printf("\n%-11s %-15s %7s %7s %7s  %9s  %12s  %9s  %8s  %s\n", "scene", "client", "calls/s", "calls", "failed", "success", "answered95", "moved95", "p99", "sent per call; failures")
		for _, c := range clients {
			row, err := scene(ctx, c.dial, c.rate, lost, what, warm, after)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", what, c.name, err)
			}
			fmt.Printf("%-11s %-15s %7.0f %7d %7d  %8.3f%%  %9.0f ms  %6.0f ms  %5.0f ms  %.3f; %v\n", what, c.name, c.rate,
				row.calls, row.failed, 100*row.success, ms(row.answered), ms(row.moved), ms(row.p99), row.amplification, row.codes)
			success := c.refused
			if what == blackHole {
				success = c.hole
			}
			*success = math.Floor(row.success*1e5) / 1e5
			*c.moved = max(*c.moved, ms(row.moved))
		}
	}
	fmt.Println("\nanswered95: until 95 % of calls are answered by other clouds; moved95: and without an attempt sent to the lost one")
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// scene runs a fleet and a client of its own.
func scene(ctx context.Context, dial dialer, rate float64, lost string, what fault, warm, after time.Duration) (row, error) {
	f, err := newFleet(ctx)
	if f != nil {
		defer f.close()
	}
	if err != nil {
		return row{}, err
	}
	conn, closed, err := dial(ctx, f, watch(f, lost))
	if err != nil {
		return row{}, err
	}
	defer closed()
	conn.Connect()
	begin := time.Now().Add(200 * time.Millisecond)
	at := warm
	failed := make(chan error, 1)
	timer := time.AfterFunc(time.Until(begin.Add(warm)), func() {
		at = time.Since(begin)
		failed <- f.fail(lost, what)
	})
	calls := openLoop(ctx, conn, rate, warm+after, begin)
	if timer.Stop() {
		return row{}, errors.New("the calls ended before the fault")
	}
	if err := <-failed; err != nil {
		return row{}, err
	}
	if err := errors.Join(ctx.Err(), healthy(calls, at)); err != nil {
		return row{}, err
	}
	return judge(calls, at, warm+after, lost), nil
}

func (f fault) String() string { return [...]string{"refused", "black hole"}[f] }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

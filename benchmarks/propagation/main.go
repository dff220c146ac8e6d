// Propagation measures, on a real Consul on loopback, how soon clients use what
// is written to the catalog, and how long a new client takes to its first answer.
//
//	go run ./propagation [-clients 1,100,1000] [-calling 200] [-changes 50] [-starts 30] [-shared]
//
// Up to -calling clients are members of the mesh with a watch of their own (with
// -shared, channels of one member) that call a service every few milliseconds, over
// mutual TLS. All members are in this process, have one identity, and reach the agent
// from loopback addresses of their own, for it takes 200 connections of each. The
// service has an old instance, and one of far more weight comes and goes, so that the
// call after a change is on it. Times count from the beginning of the write to the end
// of the first call on the new instance: connection, handshake and the pause between
// two calls are included.
//
// More clients than that make no calls: a thousand handshakes at once would measure
// this machine and not the way of the change. Each has a watch, a cache and a balancer
// of its own; times count to the first pick of the new instance, and such rows say
// "picks". Each of them has a fifth of the -changes. Here Consul answers a thousand
// queries on the cores that the clients run on too.
//
// The last line is JSON: that of 100 clients, or else of the last number, and a row for
// each number.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
)

func main() {
	clients := flag.String("clients", "1,100,1000", "numbers of clients")
	calling := flag.Int("calling", 200, "the most clients that call; more only pick")
	changes := flag.Int("changes", 50, "registrations for each number of clients, and as many deregistrations")
	starts := flag.Int("starts", 30, "starts of a new member")
	shared := flag.Bool("shared", false, "clients are channels of one member")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *clients, *calling, *changes, *starts, *shared); err != nil {
		fmt.Fprintln(os.Stderr, "propagation:", err)
		os.Exit(1)
	}
}

// result is the last line. The fields of one client are there if it was measured.
type result struct {
	Bench     string  `json:"bench"`
	Clients   int     `json:"clients"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	OneP50    float64 `json:"one_client_p50_ms,omitempty"`
	OneP99    float64 `json:"one_client_p99_ms,omitempty"`
	Failed    int64   `json:"failed"`
	Join      float64 `json:"join_ms"`
	FirstCall float64 `json:"first_call_ms"`
	Start     float64 `json:"start_ms"`
	Rows      []row   `json:"rows"`
}

// row is what was measured with one number of clients.
type row struct {
	Clients int     `json:"clients"`
	By      string  `json:"by"` // "calls" or "picks"
	Changes int     `json:"changes"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	GoneP50 float64 `json:"gone_p50_ms"`
	GoneP99 float64 `json:"gone_p99_ms"`
	Write   float64 `json:"write_p50_ms"`
}

const reported = 100 // clients

func run(ctx context.Context, list string, calling, changes, starts int, shared bool) error {
	if changes < 1 || starts < 1 || calling < 0 {
		return fmt.Errorf("-changes %d, -starts %d: want 1 or more; -calling %d: want 0 or more", changes, starts, calling)
	}
	agent, err := consultest.Start(ctx, consultest.Config{Progress: os.Stdout})
	if err != nil {
		return err
	}
	defer agent.Stop()
	fmt.Printf("Consul %s on loopback, mutual TLS by its CA, %s, %d cores; times in ms\n", consultest.Version, runtime.Version(), runtime.NumCPU())
	r := result{Bench: "propagation"}
	for i, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 {
			return fmt.Errorf("-clients: %q is not a positive number", field)
		}
		service, one := fmt.Sprintf("echo-%d", i), row{Clients: n, By: "calls", Changes: changes}
		var s spread
		how := ""
		if n <= calling {
			s, err = propagate(ctx, agent, service, n, changes, shared)
			how = fmt.Sprintf("a call each %v", s.every)
		} else {
			one.By, one.Changes, how = "picks", max(1, changes/5), "picks, no calls"
			s, err = pick(ctx, agent, service, n, one.Changes)
		}
		if err != nil {
			return err
		}
		one.P50, one.P99, one.GoneP50, one.GoneP99, one.Write = ms(s.found, 50), ms(s.found, 99), ms(s.gone, 50), ms(s.gone, 99), ms(s.write, 50)
		fmt.Printf("clients %4d, %-16s write to use p50 %6.1f p99 %6.1f (the write alone %.1f)   removal to last use p50 %6.1f p99 %6.1f   failed %d\n",
			n, how+":", one.P50, one.P99, one.Write, one.GoneP50, one.GoneP99, s.failed)
		r.Rows = append(r.Rows, one)
		if r.Clients != reported {
			r.Clients, r.P50, r.P99 = n, one.P50, one.P99
		}
		if n == 1 {
			r.OneP50, r.OneP99 = one.P50, one.P99
		}
		r.Failed += s.failed
	}
	c, err := start(ctx, agent, starts)
	if err != nil {
		return err
	}
	fmt.Printf("start, %d times, 1 endpoint:    join p50 %4.1f p99 %4.1f   dial %.2f   first call p50 %4.1f p99 %4.1f   all p50 %4.1f p99 %4.1f\n",
		starts, ms(c.join, 50), ms(c.join, 99), ms(c.dial, 50), ms(c.call, 50), ms(c.call, 99), ms(c.all, 50), ms(c.all, 99))
	fmt.Printf("start when Consul has yet to issue the certificate: join %.1f   first call %.1f\n", c.firstJoin.Seconds()*1e3, c.firstCall.Seconds()*1e3)
	r.Join, r.FirstCall, r.Start = ms(c.join, 50), ms(c.call, 50), ms(c.all, 50)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// ms is a percentile in milliseconds, to a hundredth.
func ms(d []time.Duration, percent int) float64 {
	d = slices.Sorted(slices.Values(d))
	return float64(d[(len(d)-1)*percent/100].Microseconds()/10) / 100
}

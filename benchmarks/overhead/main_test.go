package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
)

func TestMain(m *testing.M) {
	if was, err := contest.Worker(contenders()...); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func startTest(t *testing.T, load string, names ...string) *group {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startExe(t, self, load, names...)
}

func startExe(t *testing.T, exe, load string, names ...string) *group {
	t.Helper()
	var specs []contest.Spec
	for _, name := range names {
		specs = append(specs, own(exe, name))
	}
	g, err := startAll(t.Context(), load, specs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

// Times depend on the machine, allocations do not: a call through the mesh makes
// at most 6 more than bare grpc-go, both ends together, with everything on.
func TestAllocations(t *testing.T) {
	g := startTest(t, "unary", "bare", "weft", plainWeft)
	more := map[string]float64{"weft": math.Inf(1), plainWeft: math.Inf(1)}
	for range 3 { // what else happens in the time makes it more, never less
		rows, lost := g.measure(t.Context(), 4, plan{rounds: 3, slice: 300 * time.Millisecond}, io.Discard)
		if len(lost) > 0 {
			t.Fatal(lost)
		}
		most := 0.0
		for _, weft := range rows[1:] {
			t.Logf("allocations per call: bare %.1f, %s %.1f", rows[0].Allocs, weft.Name, weft.Allocs)
			more[weft.Name] = min(more[weft.Name], weft.Allocs-rows[0].Allocs)
			most = max(most, more[weft.Name])
		}
		if most <= 6 {
			return
		}
	}
	t.Errorf("more allocations per call than bare: %v, at most 6 are allowed", more)
}

// Over HTTP/1.1 it makes 12 less than net/http with the same mutual TLS, or fewer still, for
// a small request has no http.Transport; over HTTP/2 at most 9 more.
// Three are the client's (the call and its request; the loop; the attempt and its
// response's body), three the server's (telemetry; authorization and the handler's
// request; gates, deadline, panics), each in one piece. The rest is net/http's work for the
// mesh: weft-timeout being written and read (1 or 2), and what 1 % of traces cost (1).
func TestHTTPAllocations(t *testing.T) {
	exe := plainExe(t)
	for version, most := range map[string]float64{"1.1": -12, "2": 9} {
		g := startExe(t, exe, "http "+version, "net/http "+version, "weft http "+version)
		more := math.Inf(1)
		for range 3 { // what else happens in the time makes it more, never less
			rows, lost := g.measure(t.Context(), 4, plan{rounds: 3, slice: 300 * time.Millisecond}, io.Discard)
			if len(lost) > 0 {
				t.Fatal(lost)
			}
			bare, weft := rows[0], rows[1]
			t.Logf("HTTP/%s: allocations per call: net/http %.1f, weft %.1f; bytes %.0f and %.0f", version, bare.Allocs, weft.Allocs, bare.Bytes, weft.Bytes)
			if more = min(more, weft.Allocs-bare.Allocs); more <= most {
				break
			}
		}
		if more > most {
			t.Errorf("HTTP/%s: weft makes %.1f more allocations per call than net/http, at most %g are allowed", version, more, most)
		}
	}
}

// plainExe is this program without the race detector, with which allocations are others.
func plainExe(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "overhead")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", exe, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// Every load runs, and every figure is there.
func TestLoads(t *testing.T) {
	for load, names := range map[string][]string{
		"streams":  {"bare", "weft"},
		"http 1.1": {"net/http 1.1", "weft http 1.1"},
		"http 2":   {"net/http 2", "weft http 2"},
	} {
		g := startTest(t, load, names...)
		rows, lost := g.measure(t.Context(), 2, plan{rounds: 1, slice: 100 * time.Millisecond}, io.Discard)
		if len(lost) > 0 || len(rows) != 2 {
			t.Fatalf("%s: %v, %d rows", load, lost, len(rows))
		}
		for _, r := range rows {
			if r.Ratio <= 0 || r.RPS <= 0 || r.P50 <= 0 || r.P99 < r.P50 || r.Allocs <= 0 || r.Bytes <= 0 || r.ClientCPU <= 0 || r.CPUPer1000 < r.ClientCPU || r.RSS <= 0 {
				t.Errorf("%+v", r)
			}
		}
		t.Logf("%s: allocations %.1f and %.1f", load, rows[0].Allocs, rows[1].Allocs)
	}
}

// With a rate there are as many calls as were due, however long they take.
func TestRate(t *testing.T) {
	g := startTest(t, "unary", "bare")
	s, err := g.pairs[0].Slice(t.Context(), contest.Order{Callers: 4, For: 200 * time.Millisecond, Rate: 500})
	if err != nil {
		t.Fatal(err)
	}
	if s.Calls != 100 {
		t.Errorf("%d calls, 100 were due", s.Calls)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, bad := range [][3]string{{"0", "all", "unary"}, {"x", "all", "unary"}, {"1", "envoy", "unary"}, {"1", "all", "udp"}} {
		o := options{plan: plan{rounds: 1, slice: time.Second}}
		if err := o.parse(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	o := options{plan: plan{rounds: 5, slice: time.Second}}
	if err := o.parse("1, 32", "handmade,haproxy", "unary,http"); err != nil || len(o.callers) != 2 || len(o.peers) != 2 || !o.loads["http"] {
		t.Errorf("%v, %+v", err, o)
	}
}

// One that does not start says why, and leaves nothing behind.
func TestNotRun(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("no such thing")
	s := contest.Spec{Name: "sidecar", Exe: self, As: "plain", Between: func(context.Context, string, string) (*contest.Between, error) { return nil, gone }}
	if p, err := contest.Start(t.Context(), s); p != nil || !errors.Is(err, gone) || !strings.Contains(err.Error(), "sidecar") {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := contest.Start(t.Context(), own(self, "nobody")); err == nil {
		t.Error("a contender that there is not was started")
	}
}

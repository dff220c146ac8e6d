package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bench is one benchmark.
type bench struct {
	name  string
	what  string
	args  []string
	quick []string
	// more are arguments for a machine that is large enough. nil: none.
	more func(machine) []string
	// read takes the result from what go test -bench printed. nil: it is a program.
	read func(out string) (json.RawMessage, error)
	// of is the package of the program or of go test, in the folder in; empty: the
	// name, here.
	of, in string
}

// benches are all, in the order in which they run.
func benches() []bench {
	return []bench{
		{name: "overhead", what: "a 1 KiB echo against bare grpc-go, net/http and peers", quick: []string{"-quick"}},
		{name: "openloop", what: "the same at 4,000 calls per second, begun whatever becomes of those before", of: "./overhead",
			args:  []string{"-rate", "4000", "-callers", "32", "-loads", "unary"},
			quick: []string{"-rate", "4000", "-callers", "32", "-loads", "unary", "-quick", "-peers", "none"}},
		{name: "telemetry", what: "what metrics and traces add to a call", quick: []string{"-rounds", "7"}},
		{name: "meter", what: "metrics and unsampled traces of one call and its attempt, without a network", read: meters, of: "./mesh", in: "..",
			args: []string{"-bench", "^Benchmark(Metrics|Unsampled)$", "-benchmem", "-run", "^$", "-count", "5"}},
		{name: "pick", what: "one pick by peak EWMA", read: picks,
			args:  []string{"-bench", "^BenchmarkPick$/peak_ewma", "-benchmem", "-run", "^$", "-benchtime", "1s"},
			quick: []string{"-bench", "^BenchmarkPick$/peak_ewma", "-benchmem", "-run", "^$", "-benchtime", "200ms"}},
		{name: "scale", what: "10,000 and 100,000 endpoints"},
		{name: "propagation", what: "Consul write to first use, by clients with watches of their own", more: crowds, quick: []string{"-changes", "15", "-starts", "10"}},
		{name: "coldstart", what: "mesh.Join to the first answer", quick: []string{"-starts", "5"}},
		{name: "rotation", what: "100 rotations of SVIDs, and of the CA's root, under load"},
		{name: "outage", what: "one of three clouds is lost", quick: []string{"-warm", "2s", "-watch", "5s"}},
		{name: "drills", what: "faults of the network and of processes, each with its promise"},
		{name: "brownout", what: "a chain of four whose last service fails half of its calls", quick: []string{"-fault", "20s"}},
		{name: "slow", what: "one of 50 replicas is 10 times slower", quick: []string{"-seeds", "1", "-warm", "5s", "-span", "10s"}},
		{name: "overload", what: "half to three times what servers can do", quick: []string{"-warm", "5s", "-span", "8s"}},
		{name: "fintrust", what: "two clouds 80 ms apart, the nearer replicas degraded", quick: []string{"-seeds", "3"}},
	}
}

// crowds lets 1000 clients call where they fit: each has a process's worth of state.
func crowds(m machine) []string {
	if m.Cores < 8 || m.MemoryGB < 8 {
		return nil
	}
	return []string{"-calling", "1000"}
}

// outcome is what one benchmark came to.
type outcome struct {
	Name    string          `json:"name"`
	What    string          `json:"what"`
	Command string          `json:"command"`
	Quick   bool            `json:"quick"`
	Took    float64         `json:"took_s"`
	NotRun  string          `json:"not_run,omitempty"`
	Left    string          `json:"left_out,omitempty"` // part of it that was not run
	Failed  string          `json:"failed,omitempty"`   // it ended with an error, after its last line
	Line    json.RawMessage `json:"line,omitempty"`
	Text    string          `json:"text,omitempty"`
	Machine machine         `json:"machine"`
}

// one runs a benchmark; what goes wrong is in the outcome.
func (o *options) one(ctx context.Context, b bench, m machine) outcome {
	args := b.args
	if o.quick && b.quick != nil {
		args = b.quick
	}
	got := outcome{Name: b.name, What: b.what}
	if b.more != nil {
		if more := b.more(m); more != nil {
			args = append(more, args...)
		} else if b.name == "propagation" {
			got.Left = fmt.Sprintf("calls of 1000 clients, which only pick here: calls are for a machine of 8 cores and 8 GB, this one has %d and %.0f", m.Cores, m.MemoryGB)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	cmd, err := o.command(ctx, b, args, &got)
	if err != nil {
		got.NotRun = err.Error()
		return got
	}
	var out, problems bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(o.dir, b.in), &out, &problems
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		if text, line, none := split(out.String()); none == nil && b.read == nil {
			got.Text, got.Line, got.Failed = text, line, last(err.Error()+": "+problems.String(), 400)
			return got
		}
		got.NotRun = fmt.Sprintf("%v: %s", errors.Join(err, ctx.Err()), last(problems.String(), 400))
		return got
	}
	if b.read != nil {
		got.Text = strings.TrimSpace(out.String())
		got.Line, err = b.read(out.String())
	} else {
		got.Text, got.Line, err = split(out.String())
	}
	if err != nil {
		got.NotRun = err.Error()
	}
	return got
}

// command builds a benchmark, for a program that is run by go run gets no interrupt.
func (o *options) command(ctx context.Context, b bench, args []string, got *outcome) (*exec.Cmd, error) {
	of := cmp.Or(b.of, "./"+b.name)
	if b.read != nil {
		args = append(append([]string{"test"}, args...), of)
		if got.Command = "go " + quoted(args); b.in != "" {
			got.Command = "(cd " + b.in + " && " + got.Command + ")"
		}
		return exec.CommandContext(ctx, "go", args...), nil
	}
	got.Command = strings.TrimSpace("go run " + of + " " + quoted(args))
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	exe := filepath.Join(cache, "weft", "benchmarks", filepath.Base(of))
	build := exec.CommandContext(ctx, "go", "build", "-o", exe, of)
	build.Dir = o.dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, last(string(out), 400))
	}
	return exec.CommandContext(ctx, exe, args...), nil
}

func quoted(args []string) string {
	list := make([]string, len(args))
	for i, a := range args {
		if list[i] = a; strings.ContainsAny(a, "$^*|() ") {
			list[i] = "'" + a + "'"
		}
	}
	return strings.Join(list, " ")
}

// split takes the last line, which is JSON with the benchmark's name, from the rest.
func split(out string) (text string, line json.RawMessage, err error) {
	out = strings.Trim(out, "\n")
	i := strings.LastIndexByte(out, '\n')
	var named struct{ Bench string }
	if err := json.Unmarshal([]byte(out[i+1:]), &named); err != nil || named.Bench == "" {
		return out, nil, fmt.Errorf("the last line is no result: %q", last(out[i+1:], 200))
	}
	return strings.TrimRight(out[:max(i, 0)], " \n"), json.RawMessage(out[i+1:]), nil
}

// last is the end of a text, in one line.
func last(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[max(0, len(s)-n):]
}

package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is results as benchmarks print them.
func sample(t *testing.T) *results {
	t.Helper()
	m := machine{CPU: "test", Cores: 2, Date: "2026-01-02", Commit: "abc", GOGC: "100", Versions: map[string]string{"go": "1.26"}}
	r := &results{}
	for name, line := range map[string]string{
		"overhead": `{"bench":"overhead","callers":32,"ratio":0.98,"allocs_bare":140.4,"allocs_weft":144.6,"ratio_tuned":1.01,
			"peers":{"kratos":{"ratio":0.7,"allocs":190},"haproxy":{"not_run":"not installed"}},
			"rows":[{"load":"unary","callers":32,"name":"bare","ratio":1},{"load":"unary","callers":32,"name":"weft","ratio":0.98},{"load":"http 2","callers":32,"name":"weft http 2","ratio":0.96}]}`,
		"openloop": `{"bench":"overhead","callers":32,"rate":4000,"peers":{"haproxy":{"not_run":"not installed"},"kratos":{"ratio":1}},"rows":[{"load":"unary","callers":32,"name":"bare","p99_us":1520,"cpu_ms_per_1000":101.2},{"load":"unary","callers":32,"name":"weft","p99_us":1210,"cpu_ms_per_1000":80.4}]}`,
		"slow":     `{"bench":"slow","p99_ms":110,"errors":0,"best_other":"p2c_ewma","best_other_p99_ms":122}`,
		"fintrust": `{"bench":"fintrust","latency_ratio":0.32,"goodput_ratio":3.4,"mean_naive_ms":120,"mean_weft_ms":38,"goodput_naive":0.28,"goodput_weft":0.98}`,
	} {
		r.put(outcome{Name: name, What: "what", Command: "go run ./" + name, Line: []byte(line), Text: "  printed", Machine: m})
	}
	r.put(outcome{Name: "drills", What: "what", Line: []byte(`{"bench":"drills","drills":9,"broken":["D6"]}`), Failed: "exit status 1", Machine: m})
	r.put(outcome{Name: "telemetry", What: "what", Line: []byte(`{"bench":"telemetry","adds":{"metrics":{"ns":90.4,"noise_ns":12,"allocs":-0.01},"old":{"ns":-5313,"allocs":0},"one percent":{"ns":-700,"noise_ns":1200,"allocs":0.7}}}`), Machine: m})
	r.put(outcome{Name: "meter", What: "what", Line: []byte(`{"bench":"meter","costs":{"unsampled":{"ns":70.2,"allocs":1},"metrics":{"ns":61.9,"allocs":0}}}`), Machine: m})
	r.put(outcome{Name: "outage", What: "what", NotRun: "no time", Machine: m})
	return r
}

func TestReport(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "benchmarks")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	readme := filepath.Join(dir, "..", "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+begin+"\nold\n"+end+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options{dir: dir}
	if err := o.readme(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without results: %v", err)
	}
	if err := sample(t).write(dir); err != nil {
		t.Fatal(err)
	}
	if err := o.readme(); err != nil {
		t.Fatal(err)
	}
	for file, wants := range map[string][]string{
		filepath.Join(dir, "RESULTS.md"): {"**Not run**: no time", "**Not run**: it was not asked for", "```\n  printed\n```", "plots/overhead-rps.svg", "Machine: 2 cores of test"},
		readme:                           {"before\n", "\nafter\n", "**weft 0.98** of bare", "kratos 0.70, 190.0", "not run: haproxy", "| `go run ./overhead -rate 4000 -callers 32 -loads unary` |", "bare 1.5 ms, 101 µs; **weft** 1.2 ms, 80 µs; haproxy not run |", "weft by HTTP/2 0.96", "| not run: no time |", "| **failed**: 8 of 9 keep their promise; broken: D6 |", "| metrics: +90 ns (±12), +0.0 allocations; old: time not known, +0.0 allocations; one percent: below what this run can tell (±1200 ns), +0.7 allocations |", "| metrics: 62 ns, 0 allocations; unsampled: 70 ns, 1 allocations;", "68 % less", "| `go run ./scale` | 10,000 and 100,000 endpoints | not run |"},
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s lacks %q:\n%s", filepath.Base(file), want, b)
			}
		}
		if strings.Contains(string(b), "\nold\n") {
			t.Errorf("%s has its old table", filepath.Base(file))
		}
	}
	if _, err := replace("no markers", ""); err == nil {
		t.Error("a README without markers was accepted")
	}
}

// Every plot is well-formed, and has a bar for every value.
func TestPlots(t *testing.T) {
	t.Parallel()
	list := sample(t).plots()
	if len(list) != 8 {
		t.Errorf("%d plots, want 8", len(list))
	}
	for _, p := range append(list, plot{title: "<of> nothing & \"all\"", bars: []bar{{"<a>", 0, true}}, format: "%.0f"}) {
		svg := p.svg()
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", p.file, err, svg)
			}
		}
		if n := strings.Count(svg, `rx="2"`); n != len(p.bars) {
			t.Errorf("%s has %d bars, want %d", p.file, n, len(p.bars))
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	text, line, err := split("\n  a\nb\n\n{\"bench\":\"x\",\"n\":1}\n")
	if err != nil || text != "  a\nb" || string(line) != `{"bench":"x","n":1}` {
		t.Errorf("%q, %q, %v", text, line, err)
	}
	if _, _, err := split(`{"bench":"x"}`); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "text", "{}", "{\"bench\":\"x\"}\nmore"} {
		if _, _, err := split(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestPicks(t *testing.T) {
	t.Parallel()
	line, err := picks("goos: linux\nBenchmarkPick/peak_ewma/10-2   \t 5102800\t 45.74 ns/op\t 0 B/op\t 0 allocs/op\nBenchmarkPick/peak_ewma/100000-subset-16 10 51.15 ns/op 0 B/op 1 allocs/op\nBenchmarkBroken-2\nPASS\n")
	want := `{"bench":"pick","picks":[{"endpoints":10,"subset":false,"ns":45.74,"allocs":0},{"endpoints":100000,"subset":true,"ns":51.15,"allocs":1}]}`
	if err != nil || string(line) != want {
		t.Errorf("%s, %v", line, err)
	}
	line, err = meters("BenchmarkMetrics-2 1 60 ns/op 0 B/op 0 allocs/op\nBenchmarkMetrics-2 1 90 ns/op 0 B/op 1 allocs/op\nBenchmarkMetrics-2 1 70.5 ns/op 0 B/op 0 allocs/op\nBenchmarkUnsampled 1 9 ns/op 0 B/op 0 allocs/op\n")
	want = `{"bench":"meter","costs":{"metrics":{"ns":70.5,"allocs":1},"unsampled":{"ns":9,"allocs":0}}}`
	if err != nil || string(line) != want {
		t.Errorf("%s, %v", line, err)
	}
	for _, read := range []func(string) (json.RawMessage, error){picks, meters} {
		if _, err := read("PASS\n"); err == nil {
			t.Error("no benchmark was accepted")
		}
	}
}

// One that fails is not run, and says why.
func TestOneThatFails(t *testing.T) {
	t.Parallel()
	o := options{dir: t.TempDir(), timeout: 1 << 40}
	if got := o.one(t.Context(), bench{name: "nothing"}, machine{}); !strings.Contains(got.NotRun, "go build") {
		t.Errorf("%+v", got)
	}
	if err := o.choose("overhead, nothing"); err == nil {
		t.Error("-only took a name that there is not")
	}
	got := o.one(t.Context(), bench{name: "propagation", more: crowds}, machine{Cores: 2, MemoryGB: 4})
	if !strings.Contains(got.Left, "1000 clients") {
		t.Errorf("what was left out is not said: %+v", got)
	}
	if args := crowds(machine{Cores: 16, MemoryGB: 64}); len(args) != 2 {
		t.Errorf("a large machine is given %q", args)
	}
}

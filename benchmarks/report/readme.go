package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	begin = "<!-- benchmarks: begin; written by go run ./report -readme -->"
	end   = "<!-- benchmarks: end -->"
)

// readme writes the table of the README.
func (o *options) readme() error {
	r, err := read(o.dir)
	if err != nil {
		return fmt.Errorf("there are no results; run `go run ./report` first: %w", err)
	}
	path := filepath.Join(o.dir, "..", "README.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := replace(string(old), r.table())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// replace puts a text between the markers.
func replace(old, text string) (string, error) {
	before, rest, ok := strings.Cut(old, begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		return "", errors.New("the markers are missing: " + begin + " and " + end)
	}
	return before + begin + "\n" + text + end + after, nil
}

// table is what the README says.
func (r *results) table() string {
	var b strings.Builder
	if len(r.Outcomes) > 0 {
		m := r.Outcomes[0].Machine
		fmt.Fprintf(&b, "From %d cores of %s, Go %s, GOGC=%s, commit %s, %s", m.Cores, m.CPU, m.Versions["go"], m.GOGC, m.Commit, m.Date)
		b.WriteString("; allocations are exact, times are those of one machine.\nEverything that was printed, and plots: [benchmarks/RESULTS.md](benchmarks/RESULTS.md).\n\n")
	}
	if r.get("overhead", &struct{}{}) {
		b.WriteString("![Calls per second, of those of bare grpc-go](benchmarks/plots/overhead-rps.svg)\n\n")
	}
	b.WriteString("| command | what | result |\n|---|---|---|\n")
	for _, bench := range benches() {
		of := cmp.Or(bench.of, "./"+bench.name)
		command := "go run " + of
		if bench.read != nil {
			command = "go test -bench . " + of
			if bench.in != "" {
				command = "cd " + bench.in + " && " + command
			}
		} else if bench.of != "" {
			command += " " + quoted(bench.args)
		}
		result := "not run"
		for _, o := range r.Outcomes {
			switch {
			case o.Name != bench.name:
			case o.NotRun != "":
				result = "not run: " + o.NotRun
			default:
				result = r.sentence(bench.name)
				if o.Failed != "" {
					result = "**failed**: " + result
				}
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", command, bench.what, strings.NewReplacer("|", "\\|", "\n", " ").Replace(result))
	}
	return b.String()
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// results are all outcomes.
type results struct {
	Outcomes []outcome `json:"outcomes"`
}

func read(dir string) (*results, error) {
	b, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		return nil, err
	}
	r := &results{}
	return r, json.Unmarshal(b, r)
}

// put replaces the outcome of the same name, and keeps the order of benches.
func (r *results) put(o outcome) {
	byName := map[string]outcome{o.Name: o}
	for _, old := range r.Outcomes {
		if old.Name != o.Name {
			byName[old.Name] = old
		}
	}
	r.Outcomes = nil
	for _, b := range benches() {
		if o, ok := byName[b.name]; ok {
			r.Outcomes = append(r.Outcomes, o)
		}
	}
}

// get decodes a last line; false if the benchmark was not run.
func (r *results) get(name string, into any) bool {
	for _, o := range r.Outcomes {
		if o.Name == name && o.NotRun == "" {
			return json.Unmarshal(o.Line, into) == nil
		}
	}
	return false
}

// write writes all files.
func (r *results) write(dir string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	plots := filepath.Join(dir, "plots")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(plots, "*.svg"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	drawn := r.plots()
	for _, p := range drawn {
		err = errors.Join(err, os.WriteFile(filepath.Join(plots, p.file), []byte(p.svg()), 0o644))
	}
	return errors.Join(err,
		os.WriteFile(filepath.Join(dir, "results.json"), append(b, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(r.markdown(drawn)), 0o644))
}

// markdown is RESULTS.md.
func (r *results) markdown(drawn []plot) string {
	var b strings.Builder
	b.WriteString("# Results\n\nWritten by `go run ./report`; do not edit. What each benchmark does is at the top of its `main.go`.\n")
	var before string
	for _, o := range r.Outcomes {
		if where := o.Machine.text(); where != before {
			fmt.Fprintf(&b, "\n%s\n", where)
			before = where
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n    %s\n\n", o.Name, upper(o.What), o.Command)
		if o.NotRun != "" {
			fmt.Fprintf(&b, "**Not run**: %s\n", o.NotRun)
			continue
		}
		if o.Failed != "" {
			fmt.Fprintf(&b, "**Failed**: %s\n\n", o.Failed)
		}
		if o.Left != "" {
			fmt.Fprintf(&b, "**Not run**: %s\n\n", o.Left)
		}
		for _, p := range drawn {
			if p.bench == o.Name {
				fmt.Fprintf(&b, "![%s](plots/%s)\n\n", p.title, p.file)
			}
		}
		fmt.Fprintf(&b, "```\n%s\n```\n", o.Text)
	}
	for _, bench := range benches() {
		if !slices.ContainsFunc(r.Outcomes, func(o outcome) bool { return o.Name == bench.name }) {
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n**Not run**: it was not asked for.\n", bench.name, upper(bench.what))
		}
	}
	return b.String()
}

// text is the machine in a paragraph.
func (m machine) text() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		list = append(list, name+" "+m.Versions[name])
	}
	return fmt.Sprintf("Machine: %d cores of %s, %.0f GB, %s; GOGC=%s; load before the first benchmark %s. Commit %s, %s.\n\nVersions: %s.",
		m.Cores, m.CPU, m.MemoryGB, m.System, m.GOGC, m.Load, m.Commit, m.Date, strings.Join(list, ", "))
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The example is its own test. It uses a Prometheus server where there is one.
func TestObservability(t *testing.T) {
	if err := run(t.Context(), 2*time.Second); err != nil {
		t.Fatal(err)
	}
}

// What happens too rarely to be seen above is checked by name: each query reads
// series that the Prometheus endpoint can show.
func TestQueriesReadKnownSeries(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../mesh/export/prometheus/testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(string(b))
	queries, err := readQueries(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(queries) < 30 {
		t.Errorf("only %d queries were found", len(queries))
	}
	for _, q := range queries {
		names := metricNames(q.expr)
		if len(names) == 0 {
			t.Errorf("%s reads nothing: %s", q.where, q.expr)
		}
		for _, name := range names {
			if !slices.Contains(known, name) {
				t.Errorf("%s reads %s, which no endpoint shows", q.where, name)
			}
		}
	}
	for name := range event {
		if !slices.Contains(known, name) {
			t.Errorf("no endpoint shows %s", name)
		}
	}
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		`up`:                                "up",
		`rate(a_total{x="}y"}[5m]) > 1 / 3`: "a_total",
		`sum by (le, x) (rate(a_bucket[$__rate_interval]))`:         "a_bucket",
		`sum(rate(a[5m] offset 1h)) by (x) / on (x) group_left b`:   "a b",
		`histogram_quantile(0.99, sum without(y) (rate(h[1m])))`:    "h",
		`a and on(x) b unless (c) or vector(1e3)`:                   "a b c",
		`count by (x) (label_replace(m, "a", "$1", "b", 'metric'))`: "m",
		`1 + 2`: "",
	} {
		if got := strings.Join(metricNames(expr), " "); got != want {
			t.Errorf("%s reads %q, want %q", expr, got, want)
		}
	}
}

func FuzzMetricNames(f *testing.F) {
	for _, s := range []string{`sum by (a) (rate(b{c="d"}[5m]))`, `{"`, `a by`, "on(", "`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range metricNames(s) {
			if name == "" || !strings.Contains(s, name) {
				t.Errorf("%q is not in %q", name, s)
			}
		}
	})
}

func FuzzSeriesNames(f *testing.F) {
	f.Add("# HELP a b\na{b=\"c\"} 1\na_total 2\n")
	f.Add(" 1\n")
	f.Fuzz(func(t *testing.T, s string) {
		have := map[string]bool{}
		if err := seriesNames(strings.NewReader(s), have); err == nil && have[""] {
			t.Errorf("a series without a name in %q", s)
		}
	})
}

// Observability runs a caller and two services, each with a Prometheus endpoint, under
// a Prometheus server, and checks that every series that the dashboards and alerts
// beside it need is there.
//
//	cd examples/observability && go run .
//
// The server is the prometheus in PATH (Debian and Ubuntu: apt-get install
// prometheus), or the one that PROMETHEUS names. Without one the example reads its
// endpoints itself, and says so. It exits with 0 only if nothing is missing.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	load := flag.Duration("load", 5*time.Second, "how long calls are made")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *load); err != nil {
		fmt.Fprintln(os.Stderr, "observability: failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, load time.Duration) error {
	queries, err := readQueries(".")
	if err != nil {
		return err
	}
	shop, err := open(ctx)
	if err != nil {
		return err
	}
	defer shop.close()
	fmt.Println("checkout calls payments (gRPC) and inventory (HTTP); each has an endpoint for Prometheus:")
	for _, name := range slices.Sorted(maps.Keys(shop.metrics)) {
		fmt.Printf("  %-10s http://%s/metrics\n", name, shop.metrics[name])
	}
	bin, found := findPrometheus()
	if !found {
		fmt.Println("no prometheus in PATH (apt-get install prometheus, or set PROMETHEUS to one): the endpoints are read without it")
		if err := shop.call(ctx, load); err != nil {
			return err
		}
		have, err := shop.scrape(ctx)
		if err != nil {
			return err
		}
		return check(queries, have)
	}
	server, err := startServer(ctx, bin, shop.metrics)
	if err != nil {
		return err
	}
	defer server.stop()
	fmt.Printf("%s scrapes them each second, with alerts.yml\n", bin)
	if err := shop.call(ctx, load); err != nil {
		return err
	}
	if err := server.scraped(ctx); err != nil {
		return err
	}
	have, err := server.names(ctx)
	if err != nil {
		return err
	}
	if err := check(queries, have); err != nil {
		return err
	}
	return server.answers(ctx, queries)
}

// findPrometheus finds the server.
func findPrometheus() (path string, found bool) {
	if p := os.Getenv("PROMETHEUS"); p != "" {
		return p, true
	}
	p, err := exec.LookPath("prometheus")
	return p, err == nil
}

// check reports the series that queries need and that nobody has.
func check(queries []query, have map[string]bool) error {
	var missing []string
	for _, q := range queries {
		for _, name := range metricNames(q.expr) {
			// Counters of what has not happened have no series yet.
			if !have[name] && !event[name] {
				missing = append(missing, fmt.Sprintf("%s (%s)", name, q.where))
			}
		}
	}
	fmt.Printf("%d queries of the dashboards and alerts, %d names of series\n", len(queries), len(have))
	if len(missing) > 0 {
		return fmt.Errorf("no such series: %s", strings.Join(missing, ", "))
	}
	return nil
}

// event are the counters of what need not have happened.
var event = map[string]bool{
	"mesh_authz_decisions_total":     true,
	"mesh_config_rejected_total":     true,
	"mesh_egress_rejected_total":     true,
	"mesh_ejections_total":           true,
	"mesh_handshakes_rejected_total": true,
	// Of catalogs that can be stale; the one in memory cannot.
	"mesh_registry_staleness_seconds": true,
	"mesh_registry_connected":         true,
	"mesh_registry_skipped":           true,
	"mesh_registry_held":              true,
}

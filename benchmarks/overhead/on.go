package main

import (
	"strings"

	"github.com/weft-mesh/weft/mesh"
)

// switchOn turns on, in the configuration of both sides, what is not on by default,
// and names all that is on. It is the only place that says so.
func switchOn(*mesh.Config) (on []string) {
	return []string{
		"mutual TLS with exact SPIFFE identities",
		"locality tiers and peak EWMA",
		"deadline passed on", "retries within a budget", "outlier detection", "a breaker for each cloud",
	}
}

func weftAbout() string { return strings.Join(switchOn(&mesh.Config{}), ", ") }

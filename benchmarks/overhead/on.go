package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security/authz"
)

// byDefault names all that weft does for a call without a setting, on all that it does
// in this benchmark; switchOn turns on what is not on by default. This file is the only
// place that says so.
func byDefault() []string {
	return []string{
		"mutual TLS with exact SPIFFE identities",
		"locality tiers and peak EWMA",
		"deadline passed on", "retries within a budget", "outlier detection", "a breaker for each cloud",
		"authorization of members", "4 MiB of heap ballast",
	}
}

func on() []string {
	return append(byDefault(),
		"a routing chain of 5 routes and a splitter",
		"authorization by intentions with permissions",
		"metrics", "1 % of traces",
	)
}

// leaveOff changes nothing of a configuration.
func leaveOff(*mesh.Config, string, string) error { return nil }

// lighten is switchOn without the ballast.
func lighten(cfg *mesh.Config, dir, protocol string) error {
	cfg.HeapBallast = -1
	return switchOn(cfg, dir, protocol)
}

// switchOn completes the configuration of either side. dir is a folder of the process.
func switchOn(cfg *mesh.Config, dir, protocol string) error {
	cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	cfg.TracerProvider = sdktrace.NewTracerProvider() // the mesh itself samples 1 %
	rules, err := authz.ParseRules([]byte(intentions))
	if err != nil {
		return err
	}
	cfg.Authorization.Rules = rules
	entries := filepath.Join(dir, "entries-"+cfg.Service+".yaml")
	cfg.Entries = []string{entries}
	return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(entries, fmt.Appendf(nil, routing, protocol), 0o600))
}

const intentions = `
kind: service-intentions
name: echo
sources:
  - name: client
    permissions:
      - {action: allow, http: {path_prefix: /grpc.testing.TestService/}}
      - {action: allow, http: {path_exact: /echo, methods: [POST]}}
`

// Four routes that every call is compared with, the one that it takes, and the split.
const routing = `
kind: service-defaults
name: echo
protocol: %s
---
kind: service-router
name: echo
routes:
  - match: {http: {path_prefix: /admin, header: [{name: x-admin, present: true}]}}
    destination: {prefix_rewrite: /}
  - match: {http: {path_exact: /status}}
  - match: {http: {path_prefix: /v2/, methods: [GET]}}
  - match: {http: {path_regex: "/items/[0-9]+"}}
  - match: {http: {path_prefix: /}}
    destination: {request_timeout: 30s}
---
kind: service-splitter
name: echo
splits:
  - {weight: 100}
`

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

// on names all that weft does for a call in this benchmark; switchOn turns on what is
// not on by default. This file is the only place that says so.
func on() []string {
	return []string{
		"mutual TLS with exact SPIFFE identities",
		"locality tiers and peak EWMA",
		"deadline passed on", "retries within a budget", "outlier detection", "a breaker for each cloud",
		"a routing chain with a router and a splitter",
		"authorization by intentions with permissions",
		"metrics", "1 % of traces",
	}
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

// A route that every call is compared with, one that it takes, and the split.
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
  - match: {http: {path_prefix: /}}
    destination: {request_timeout: 30s}
---
kind: service-splitter
name: echo
splits:
  - {weight: 100}
`

// Package ctest starts real Consul agents in tests: cleaned up when the test
// ends, with the end of their logs when it failed.
package ctest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
)

// startWithin bounds a start, the build of the binary included.
const startWithin = 15 * time.Minute

// Start runs an agent until the test ends.
func Start(t testing.TB, cfg consultest.Config) *consultest.Agent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	if cfg.Progress == nil {
		cfg.Progress = os.Stderr
	}
	a, err := consultest.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, a)
	return a
}

// Federate runs WAN-federated datacenters until the test ends; the first is the primary.
func Federate(t testing.TB, base consultest.Config, datacenters ...string) []*consultest.Agent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	if base.Progress == nil {
		base.Progress = os.Stderr
	}
	agents, err := consultest.Federate(ctx, base, datacenters...)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range agents {
		cleanup(t, a)
	}
	return agents
}

// Sidecar runs Consul's built-in proxy until the test ends.
func Sidecar(t testing.TB, a *consultest.Agent, args ...string) *consultest.Sidecar {
	t.Helper()
	s, err := a.Sidecar(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the proxy %q:\n%s", args, s.Logs())
		}
		s.Stop()
	})
	return s
}

// FreePort is a loopback port that is nobody else's until the test ends.
func FreePort(t testing.TB) int {
	t.Helper()
	port, giveBack, err := consultest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(giveBack)
	return port
}

func cleanup(t testing.TB, a *consultest.Agent) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of Consul %s:\n%s", a.Datacenter, a.Logs())
		}
		a.Stop()
	})
}

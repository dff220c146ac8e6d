package mesh_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

// statusOf is what the mesh says of a service at its only source.
func statusOf(m *mesh.Mesh, service string) mesh.SourceStatus {
	for _, s := range m.Status() {
		if s.Service == service {
			return s
		}
	}
	return mesh.SourceStatus{}
}

// TestConsulDown: calls go on while Consul is away, a process can start then, and
// what is announced after its return is found.
func TestConsulDown(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct {
		begin func(*testing.T, *consultest.Agent)
		end   func(context.Context, *consultest.Agent) error
	}{
		"killed": {
			begin: func(_ *testing.T, a *consultest.Agent) { a.Kill() },
			end:   func(ctx context.Context, a *consultest.Agent) error { return a.Restart(ctx) },
		},
		"frozen": {
			begin: func(t *testing.T, a *consultest.Agent) {
				if err := a.Freeze(); err != nil {
					t.Fatal(err)
				}
			},
			end: func(_ context.Context, a *consultest.Agent) error { return a.Thaw() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := ctest.Start(t, consultest.Config{Persist: true})
			down := func(cfg mesh.Config) mesh.Config {
				cfg.Clouds[0].Wait = time.Second // to hear soon that it is frozen
				return cfg
			}
			for i := range 2 {
				start(t, fmt.Sprintf("payments-%d", i), down(at(agent, "payments")))
			}
			cfg := down(at(agent, "checkout"))
			cfg.SnapshotDir = t.TempDir()
			m := join(t, cfg)
			l := begin(t, calls(t, m, "payments"))
			until(t, "all are known", func() bool { return statusOf(m, "payments").Endpoints == 4 })
			until(t, "the list and the identity are on disk", func() bool {
				list, _ := filepath.Glob(filepath.Join(cfg.SnapshotDir, "*payments*"))
				id, _ := filepath.Glob(filepath.Join(cfg.SnapshotDir, "identity-*"))
				return len(list) > 0 && len(id) > 0
			})

			outage.begin(t, agent)
			until(t, "the outage is noticed", func() bool { return statusOf(m, "payments").State == resolver.Stale })
			l.rounds(60)
			l.unharmed("without Consul")

			second := join(t, cfg)
			l2 := begin(t, calls(t, second, "payments"))
			l2.rounds(10)
			if s := statusOf(second, "payments"); !s.FromDisk || s.Endpoints != 4 {
				t.Errorf("the member that joined without Consul has %d endpoints, from disk: %v; want 4 from disk", s.Endpoints, s.FromDisk)
			}

			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := outage.end(ctx, agent); err != nil {
				t.Fatal(err)
			}
			start(t, "payments-new", down(at(agent, "payments")))
			l.answers("payments-new")
			l2.answers("payments-new")
			l.rounds(10)
			l.unharmed("after Consul's return")
			l2.unharmed("of the member that joined without Consul")
		})
	}
}

// TestAgentForgets: a client agent that comes back empty is told again, without a
// failed call. The servers, and so the CA, live on: a new CA is another matter.
func TestAgentForgets(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Join: ctest.Start(t, consultest.Config{})})
	cfg := at(agent, "payments")
	cfg.Clouds[0].TTL = 3 * time.Second
	for i := range 2 {
		start(t, fmt.Sprintf("payments-%d", i), cfg)
	}
	m := join(t, at(agent, "checkout"))
	l := begin(t, calls(t, m, "payments"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := agent.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "all are announced again", func() bool {
		s, _, err := agent.Client().Health().Service("payments", "", true, nil)
		return err == nil && len(s) == 4
	})
	until(t, "the list is confirmed", func() bool {
		s := statusOf(m, "payments")
		return s.State == resolver.Known && s.Held == nil && s.Endpoints == 4
	})
	l.rounds(60)
	l.unharmed("while the agent forgot all and was told again")
}

package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
)

// The tokens of the tests; none may ever be shown.
const (
	tokenPayments = "ca9a4100-0000-4000-8000-000000000001"
	tokenCheckout = "ca9a4100-0000-4000-8000-000000000002"
	tokenBlind    = "ca9a4100-0000-4000-8000-000000000003" // may be, but not read others
	tokenUnknown  = "ca9a4100-0000-4000-8000-000000000004"
)

// everything collects all that a user could read.
type everything struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (e *everything) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.Write(p)
}

// has reports whether a line has both words.
func (e *everything) has(a, b string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for line := range strings.Lines(e.buf.String()) {
		if strings.Contains(line, a) && strings.Contains(line, b) {
			return true
		}
	}
	return false
}

func (e *everything) show(v any) { fmt.Fprintf(e, "%v\n%+v\n%#v\n", v, v, v) }

func (e *everything) noSecrets(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	text := e.buf.String()
	for _, secret := range []string{tokenPayments, tokenCheckout, tokenBlind, tokenUnknown, consultest.Token, "PRIVATE KEY"} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("a secret is shown: …%q", text[max(0, i-200):min(len(text), i+50)])
		}
	}
	if !strings.Contains(text, "mesh.joined") || !strings.Contains(text, "Permission denied") {
		t.Error("what was collected lacks the log or the errors: the test sees nothing")
	}
}

// grant makes a token with a policy.
func grant(t *testing.T, agent *consultest.Agent, secret, rules string) {
	t.Helper()
	acl := agent.Client().ACL()
	name := "policy-" + secret
	if _, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := acl.TokenCreate(&api.ACLToken{SecretID: secret, Policies: []*api.ACLLink{{Name: name}}}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestACL: with default deny a service token is enough, a wrong one fails with what
// to grant, and no token is shown anywhere.
func TestACL(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{ACL: true})
	const readAll = `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`
	grant(t, agent, tokenPayments, `service "payments" { policy = "write" } `+readAll)
	grant(t, agent, tokenCheckout, `service "checkout" { policy = "write" } `+readAll)
	grant(t, agent, tokenBlind, `service "blind" { policy = "write" }`)
	allow := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "payments", Sources: []*api.SourceIntention{{Name: "checkout", Action: api.IntentionActionAllow}}}
	if _, _, err := agent.Client().ConfigEntries().Set(allow, nil); err != nil {
		t.Fatal(err)
	}
	seen := &everything{}
	with := func(service, token string) mesh.Config {
		cfg := at(agent, service)
		cfg.Clouds[0].Token = token
		cfg.Logger = slog.New(slog.NewJSONHandler(seen, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.SnapshotDir = t.TempDir()
		return cfg
	}
	t.Cleanup(func() { seen.noSecrets(t) }) // when all have left
	start(t, "payments-0", with("payments", tokenPayments))

	t.Run("a service's own token", func(t *testing.T) {
		t.Parallel()
		m := join(t, with("checkout", tokenCheckout))
		l := begin(t, calls(t, m, "payments"))
		l.rounds(5)
		l.unharmed("with the right token")
		if err := m.PrintConfig(seen); err != nil {
			t.Error(err)
		}
		seen.show(m.Settings())
		seen.show(m.Status())
	})
	t.Run("no right to read", func(t *testing.T) {
		t.Parallel()
		m := join(t, with("blind", tokenBlind))
		all := calls(t, m, "payments")
		for _, kind := range []string{"gRPC", "HTTP"} {
			// A request over HTTP waits for a catalog that cannot answer.
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			_, err := all[kind](ctx)
			cancel()
			seen.show(err)
			if err == nil || !strings.Contains(err.Error(), `service:read on "payments"`) {
				t.Errorf("%s: %v; want what to grant", kind, err)
			}
		}
		seen.show(m.Status())
	})
	for name, c := range map[string]struct{ token, want string }{
		"no token":           {"", "service:write"},
		"an unknown token":   {tokenUnknown, "ACL not found"},
		"of another service": {tokenBlind, "service:write"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The agent hands a leaf that it holds to any token, so each case has a service of its own.
			service := "new-" + strings.ReplaceAll(name, " ", "-")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			refused := make(chan error, 1)
			go func() {
				m, err := mesh.Join(ctx, with(service, c.token))
				if err == nil {
					leave(t, m)
				}
				refused <- err
			}()
			until(t, "the refusal is logged", func() bool { return seen.has("identity.lost", service) })
			cancel() // the end of the caller's patience
			err := <-refused
			seen.show(err)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Join: %v; want it to say %q", err, c.want)
			}
		})
	}
}

package consul

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/resolver"
)

var _ resolver.Registrar = (*Catalog)(nil)

func TestRegister(t *testing.T) {
	t.Parallel()
	a := sharedAgent(t)
	var log lines
	cfg := at(a)
	cfg.TTL = time.Second
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	owner := open(t, cfg)
	w := read(t, open(t, at(a)), "announced")
	ctx := t.Context()
	dereg, err := owner.Register(ctx, resolver.Instance{
		Service: "announced", Host: "::1", Port: 9000, Protocol: "grpc", Weight: 7,
		Locality: resolver.Locality{Region: "eu", Zone: "eu-b"}, Tags: []string{"t"}, Metadata: map[string]string{"k": "v"},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := w.until("shows the instance", known(1)).Endpoints[0]
	if e.ID.Instance != "announced-9000" || e.Addr != "[::1]:9000" || e.Protocol != "grpc" || e.Weight != 7 || e.Health != resolver.Passing ||
		e.Locality.Zone != "eu-b" || e.Metadata["k"] != "v" || e.Metadata[MetaNative] != "true" || !strings.HasSuffix(e.SPIFFEID, "/svc/announced") {
		t.Errorf("announced as %+v", e)
	}

	// The agent forgets the instance: the heartbeat brings it back, perhaps before the
	// watch has seen it gone.
	deregister(t, a, "announced-9000")
	poll(t, "the instance is announced again", func() bool {
		_, after, lost := strings.Cut(log.String(), "msg=instance.lost")
		return lost && strings.Contains(after, "msg=instance.registered")
	})
	poll(t, "it is listed as passing", func() bool {
		s, _, err := a.Client().Health().Service("announced", "", true, nil)
		return err == nil && len(s) == 1
	})

	// The process ends without a word: the check turns critical.
	if err := owner.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.until("is critical", func(s *resolver.Snapshot) bool {
		return len(s.Endpoints) == 1 && s.Endpoints[0].Health == resolver.Critical
	})
	if err := dereg(ctx); err != nil {
		t.Errorf("deregister after Close: %v", err)
	}
	w.until("is gone", known(0))
	if err := dereg(ctx); err != nil {
		t.Errorf("a second deregister: %v", err)
	}
	if _, err := owner.Register(ctx, resolver.Instance{Service: "announced", Host: "127.0.0.1", Port: 1}); err == nil {
		t.Error("Register after Close returned nil")
	}
	w.until("stays empty", known(0))
}

// TestRegisterOddID: an id that has to be escaped in paths.
func TestRegisterOddID(t *testing.T) {
	t.Parallel()
	a := sharedAgent(t)
	cfg := at(a)
	cfg.TTL = time.Second
	c := open(t, cfg)
	w := read(t, c, "odd")
	const id = "rack 7/odd?x=1%2F#é"
	dereg, err := c.Register(t.Context(), resolver.Instance{Service: "odd", ID: id, Host: "127.0.0.1", Port: 80})
	if err != nil {
		t.Fatal(err)
	}
	if e := w.until("shows it", known(1)).Endpoints[0]; e.ID.Instance != id {
		t.Errorf("id %q", e.ID.Instance)
	}
	// Critical by hand, then passing by the heartbeat, perhaps before the watch has seen it.
	const byHand = "by hand"
	if err := a.Client().Agent().UpdateTTL("service:"+id, byHand, "critical"); err != nil {
		t.Fatal(err)
	}
	poll(t, "the agent has heard of the heartbeat", func() bool {
		checks, err := a.Client().Agent().Checks()
		c := checks["service:"+id]
		return err == nil && c != nil && c.Status == api.HealthPassing && c.Output != byHand
	})
	if err := dereg(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("is gone", known(0))
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	a := sharedAgent(t)
	ctx := t.Context()
	for name, tt := range map[string]struct {
		cfg  Config
		in   resolver.Instance
		says string
	}{
		"no host":         {Config{}, resolver.Instance{Service: "refused", Port: 1}, "empty host"},
		"unspecified":     {Config{}, resolver.Instance{Service: "refused", Host: "0.0.0.0", Port: 1}, "0.0.0.0"},
		"port":            {Config{}, resolver.Instance{Service: "refused", Host: "a", Port: 0}, "port 0"},
		"service":         {Config{}, resolver.Instance{Service: "a/b", Host: "a", Port: 1}, "service name"},
		"weight":          {Config{}, resolver.Instance{Service: "refused", Host: "a", Port: 1, Weight: 70000}, "70000"},
		"peer":            {Config{Peer: "other"}, resolver.Instance{Service: "refused", Host: "a", Port: 1}, "peer"},
		"other's agent":   {Config{Datacenter: "other"}, resolver.Instance{Service: "refused", Host: "127.0.0.1", Port: 1}, `datacenter "dc1", not "other"`},
		"dead agent":      {Config{Address: "127.0.0.1:1"}, resolver.Instance{Service: "refused", Host: "127.0.0.1", Port: 1}, "127.0.0.1:1"},
		"id with newline": {Config{}, resolver.Instance{Service: "refused", ID: "a\nb", Host: "a", Port: 1}, "control"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.cfg.Address == "" {
				tt.cfg.Address = a.HTTPAddr()
			}
			c := open(t, tt.cfg)
			_, err := c.Register(ctx, tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	if s, _, err := a.Client().Health().Service("refused", "", false, nil); err != nil || len(s) != 0 {
		t.Errorf("refused instances are registered: %v, %v", s, err)
	}
}

// TestAgentLosesState: an agent that comes back empty hears of the instance
// again, and a watch survives it.
func TestAgentLosesState(t *testing.T) {
	t.Parallel()
	a := ctest.Start(t, consultest.Config{})
	cfg := at(a)
	cfg.TTL = time.Second
	c := open(t, cfg)
	w := read(t, c, "web")
	dereg, err := c.Register(t.Context(), resolver.Instance{Service: "web", Host: "127.0.0.1", Port: 80})
	if err != nil {
		t.Fatal(err)
	}
	first := w.until("shows the instance", func(s *resolver.Snapshot) bool {
		return known(1)(s) && s.Endpoints[0].SPIFFEID != ""
	}).Endpoints[0]
	a.Kill()
	s := w.until("is stale", stale(1))
	if s.Endpoints[0] != first || s.Reason == nil {
		t.Errorf("during the outage: %s", show(s))
	}
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A new cluster: another trust domain, and the same instance in it.
	again := w.until("shows the instance with its new identity", func(s *resolver.Snapshot) bool {
		return known(1)(s) && s.Endpoints[0].SPIFFEID != "" && s.Endpoints[0].SPIFFEID != first.SPIFFEID
	}).Endpoints[0]
	if again.ID != first.ID {
		t.Errorf("the instance's id changed from %v to %v", first.ID, again.ID)
	}

	if err := a.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := dereg(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deregistering at a frozen agent: %v", err)
	}
	if err := a.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := dereg(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("is empty", known(0))
}

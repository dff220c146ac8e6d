package consultest_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAgentLife(t *testing.T) {
	t.Parallel()
	a := ctest.Start(t, consultest.Config{Region: "r1", Zone: "z1"})
	register := func() {
		if err := a.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80}); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		s, _, err := a.Client().Health().Service("web", "", false, nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(s)
	}
	register()
	if n := count(); n != 1 {
		t.Fatalf("%d instances after registration, want 1", n)
	}
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Fatalf("%d instances after a restart without data, want 0", n)
	}
	a.Kill()
	if c, err := net.Dial("tcp", a.HTTPAddr()); err == nil {
		c.Close()
		t.Fatal("a killed agent still accepts connections")
	}
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := a.Client().Catalog().Nodes((&api.QueryOptions{}).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a frozen agent answered: %v", err)
	}
	if err := a.Thaw(); err != nil {
		t.Fatal(err)
	}
	register()
	if !strings.Contains(a.Logs(), "Consul agent running") {
		t.Errorf("log lacks the agent's own words: %q", a.Logs())
	}
}

func TestPersistKeepsState(t *testing.T) {
	t.Parallel()
	a := ctest.Start(t, consultest.Config{Persist: true, ACL: true})
	if _, err := a.Client().KV().Put(&api.KVPair{Key: "k", Value: []byte("v")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kv, _, err := a.Client().KV().Get("k", nil); err != nil || kv == nil {
		t.Fatalf("after a restart with data: %v, %v", kv, err)
	}
}

func TestFederate(t *testing.T) {
	t.Parallel()
	agents := ctest.Federate(t, consultest.Config{}, "aws", "gcp", "azure")
	for _, a := range agents {
		for _, dc := range []string{"aws", "gcp", "azure"} {
			if _, _, err := a.Client().Health().Service("consul", "", false, &api.QueryOptions{Datacenter: dc}); err != nil {
				t.Errorf("%s cannot read %s: %v", a.Datacenter, dc, err)
			}
		}
	}
}

func TestClientAgent(t *testing.T) {
	t.Parallel()
	server := ctest.Start(t, consultest.Config{})
	client := ctest.Start(t, consultest.Config{Join: server})
	if err := client.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80}); err != nil {
		t.Fatal(err)
	}
}

func TestBadConfigurationIsNamed(t *testing.T) {
	t.Parallel()
	_, err := consultest.Start(t.Context(), consultest.Config{HCL: "no_such_key = 1"})
	if err == nil || !strings.Contains(err.Error(), "no_such_key") {
		t.Fatalf("error %v does not show what the agent said", err)
	}
}

func TestBinaryOverride(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	t.Setenv(consultest.EnvBinary, missing)
	if _, err := consultest.Binary(t.Context(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing %s gives %v", consultest.EnvBinary, err)
	}
}

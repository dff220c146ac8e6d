package consul

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/consultest"
)

// shared is a Consul server for all tests that only need services of their own.
var shared struct {
	once  sync.Once
	agent *consultest.Agent
	err   error
}

// tests runs the tests and ends what they share, so that the leak check sees
// what is left.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	for _, kv := range os.Environ() { // the environment of the developer's own Consul
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "CONSUL_") {
			os.Unsetenv(name)
		}
	}
	defer func() {
		if shared.agent != nil {
			shared.agent.Stop()
		}
	}()
	return t.m.Run()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

func sharedAgent(t testing.TB) *consultest.Agent {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		shared.agent, shared.err = consultest.Start(ctx, consultest.Config{Region: "r1", Zone: "r1a", Progress: os.Stderr})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.agent
}

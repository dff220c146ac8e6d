package consul

import (
	"context"
	"os"
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

func TestMain(m *testing.M) {
	for _, kv := range []string{"CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE"} {
		os.Unsetenv(kv)
	}
	code := m.Run()
	if shared.agent != nil {
		shared.agent.Stop()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

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

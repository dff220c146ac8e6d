package drills

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
)

// syncBuffer takes what several goroutines log.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// D35: a handler panics: one failed call, one event with the stack, and the process
// lives on.
func TestPanics(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	run(t, setup{clouds: []string{"aws"}, perCloud: 1, http: true, serverLog: slog.New(slog.NewTextHandler(&log, nil))}, func(s *scene) {
		n := s.nodes[0]
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n.panics.Store(true)
		before := n.got.Load()
		_, err := s.client.EmptyCall(ctx, &grpc_testing.Empty{})
		if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "a handler panics") {
			t.Errorf("error %v, want Internal that tells nothing of the panic", err)
		}
		r := s.ledger.Add(post, false, s.ledger.Now(), s.ledger.Now()+time.Second)
		err = s.doHTTP(ctx, r, "0")
		r.Finish(nil)
		if err == nil || !strings.Contains(err.Error(), "500") {
			t.Errorf("HTTP: %v, want status 500", err)
		}
		n.panics.Store(false)
		if _, err := s.client.EmptyCall(ctx, &grpc_testing.Empty{}); err != nil {
			t.Errorf("after the panic: %v", err)
		}
		n.interceptorPanics.Store(true)
		if _, err := s.client.EmptyCall(ctx, &grpc_testing.Empty{}); status.Code(err) != codes.Internal {
			t.Errorf("panic of an interceptor: %v, want Internal", err)
		}
		n.interceptorPanics.Store(false)
		if got := n.got.Load() - before; got != 3 {
			t.Errorf("%d calls reached the handlers, want 3: one of each kind, and one after", got)
		}
		text := log.String()
		if strings.Count(text, "panic.recovered") != 3 || strings.Count(text, "node_test.go") < 3 {
			t.Errorf("want three events with stacks, got:\n%s", text)
		}
	})
}

// D35, what users give to be called: an Authorizer that panics lets nobody in, an
// observer of outliers that panics hinders nobody; both leave an event.
func TestCallbacksPanic(t *testing.T) {
	t.Parallel()
	var server, caller syncBuffer
	policy := mesh.ServicePolicy{Retry: resilience.Retry{Attempts: 1}}
	policy.Outlier.OnEvent = func(resilience.OutlierEvent) { panic("drill: an observer panics") }
	cfg := setup{clouds: []string{"aws"}, policy: policy, balancing: roundRobin, serverLog: slog.New(slog.NewTextHandler(&server, nil)), callerLog: slog.New(slog.NewTextHandler(&caller, nil))}
	run(t, cfg, func(s *scene) {
		n, other := s.nodes[0], s.nodes[1]
		n.failing(1)
		s.load(20, 2*time.Second)
		n.failing(0)
		if text := caller.String(); strings.Count(text, "panic.recovered") != 1 || !strings.Contains(text, "endpoint.ejected") {
			t.Errorf("want one event of the panic, and one of the ejection:\n%s", text)
		}
		n.authorizerPanics.Store(true)
		other.authorizerPanics.Store(true)
		s.net.Reset(n.name)
		s.net.Reset(other.name)
		time.Sleep(10 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.client.EmptyCall(ctx, &grpc_testing.Empty{}); err == nil {
			t.Error("an Authorizer that panics lets a caller in")
		}
		if text := server.String(); !strings.Contains(text, "panic.recovered") || !strings.Contains(text, "Config.Authorize") {
			t.Errorf("want an event of the panic:\n%s", text)
		}
		n.authorizerPanics.Store(false)
		other.authorizerPanics.Store(false)
		time.Sleep(15 * time.Second) // both connect again
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.client.EmptyCall(ctx, &grpc_testing.Empty{}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

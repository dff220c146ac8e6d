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
		if got := n.got.Load() - before; got != 3 {
			t.Errorf("%d calls reached the handlers, want 3: one of each kind, and one after", got)
		}
		text := log.String()
		if strings.Count(text, "panic.recovered") != 2 || strings.Count(text, "node_test.go") < 2 {
			t.Errorf("want two events with stacks, got:\n%s", text)
		}
	})
}

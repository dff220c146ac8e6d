package balancer

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// watchman is a gate that counts, and refuses or waits as told.
type watchman struct {
	mu    sync.Mutex
	in    int
	out   []resilience.Class
	err   error
	wait  bool
	infos []resilience.Info
}

func (w *watchman) Enter(ctx context.Context, in *resilience.Info) (func(resilience.Outcome), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.infos = append(w.infos, *in)
	if w.wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if w.err != nil {
		return nil, w.err
	}
	w.in++
	return func(o resilience.Outcome) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.out = append(w.out, o.Class)
	}, nil
}

func TestGRPCGate(t *testing.T) {
	t.Parallel()
	blamed := &resilience.Refused{Reason: resilience.ErrFault, Outcome: resilience.Outcome{Class: resilience.Retryable}}
	for _, tt := range []struct {
		name   string
		err    error // the gate's
		wait   bool
		bare   bool // without the interceptors
		code   codes.Code
		passed int
		seen   []resilience.Class // by the endpoint
	}{
		{name: "open", code: codes.OK, passed: 1, seen: []resilience.Class{resilience.Success}},
		{name: "refuses", err: blamed, code: codes.Unavailable, seen: []resilience.Class{resilience.Retryable}},
		{name: "refuses without blame", err: errors.New("not today"), code: codes.Unavailable, seen: []resilience.Class{resilience.Neutral}},
		{name: "waits longer than the call", wait: true, code: codes.DeadlineExceeded, seen: []resilience.Class{resilience.Neutral}},
		{name: "interceptors are missing", bare: true, code: codes.Unavailable, seen: []resilience.Class{resilience.Neutral}},
	} {
		for _, kind := range []string{"unary", "stream"} {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				gate := &watchman{err: tt.err, wait: tt.wait}
				var mu sync.Mutex
				var seen []resilience.Class
				var node *Node
				cfg := &Config{Gate: gate, Observe: func(n *Node, o resilience.Outcome, _ time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					node, seen = n, append(seen, o.Class)
				}}
				s := endpoints(startBackend(t, "", nil, echo).addr)
				Attach(&s, cfg)
				var opts []grpc.DialOption
				if !tt.bare {
					opts = append(opts, grpc.WithChainUnaryInterceptor(GateUnary(gate)), grpc.WithChainStreamInterceptor(GateStream(gate)))
				}
				cc := dial(t, newResolver(s), opts...)
				ready(t, cc)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				if tt.wait {
					ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
				}
				defer cancel()
				var err error
				// A call that waits for ready ends too: the gate's word counts.
				if kind == "unary" {
					_, err = call(ctx, cc, "x", grpc.WaitForReady(true))
				} else if st, e := openStream(ctx, cc, grpc.WaitForReady(true)); e != nil {
					err = e
				} else if err = st.CloseSend(); err == nil {
					if err = st.RecvMsg(new(any)); errors.Is(err, io.EOF) {
						err = nil
					}
				}
				if status.Code(err) != tt.code {
					t.Fatalf("%v, want %v", err, tt.code)
				}
				if tt.bare && !strings.Contains(err.Error(), "GateUnary") {
					t.Errorf("%v does not say what to do", err)
				}
				if tt.err != nil && !errors.Is(err, tt.err) {
					t.Errorf("%v does not wrap the gate's error", err)
				}
				gate.mu.Lock()
				defer gate.mu.Unlock()
				mu.Lock()
				defer mu.Unlock()
				if gate.in != tt.passed || len(gate.out) != tt.passed {
					t.Errorf("entered %d times, left %d; want %d", gate.in, len(gate.out), tt.passed)
				}
				if len(seen) != len(tt.seen) || len(seen) > 0 && seen[0] != tt.seen[0] {
					t.Errorf("the endpoint saw %v, want %v", seen, tt.seen)
				}
				if n := node.Load().InFlight(); n != 0 {
					t.Errorf("%d attempts are still in flight", n)
				}
				for _, in := range gate.infos {
					if in.Method == "" || in.Stream != (kind == "stream") {
						t.Errorf("the gate was told %+v", in)
					}
				}
			})
		}
	}
}

// ready waits until the connection has an endpoint.
func ready(t *testing.T, cc *grpc.ClientConn) {
	t.Helper()
	cc.Connect()
	for s := cc.GetState(); s.String() != "READY"; s = cc.GetState() {
		if !cc.WaitForStateChange(t.Context(), s) {
			t.Fatal("not connected")
		}
	}
}

func TestHTTPGate(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]error{"open": nil, "refuses": &resilience.Refused{Reason: resilience.ErrFault, Outcome: resilience.Outcome{Class: resilience.Retryable}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gate := &watchman{err: refuse}
			s := site(t, true, nil)
			tr := newTransport(t, TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: addrOf(s)}), Plaintext: true, Balancer: Config{Gate: gate}})
			_, _, err := get(t, tr)
			if !errors.Is(err, refuse) || (err == nil) != (refuse == nil) {
				t.Fatalf("error %v, want %v", err, refuse)
			}
			gate.mu.Lock()
			defer gate.mu.Unlock()
			if len(gate.infos) != 1 || gate.infos[0].Service != "shop" || gate.in != len(gate.out) {
				t.Errorf("told %+v, entered %d, left %d", gate.infos, gate.in, len(gate.out))
			}
			if n := inFlight(tr); n != 0 {
				t.Errorf("%d attempts are still in flight", n)
			}
		})
	}
}

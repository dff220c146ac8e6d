package balancer

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// say sends a message on an echo stream and returns who answered.
func say(t *testing.T, s grpc.ClientStream) string {
	t.Helper()
	if err := s.SendMsg(wrapperspb.String("hi")); err != nil {
		t.Fatal(err)
	}
	m := new(wrapperspb.StringValue)
	if err := s.RecvMsg(m); err != nil {
		t.Fatal(err)
	}
	return m.Value
}

// A stream lives on when its endpoint leaves the catalog; new calls go elsewhere.
func TestGRPCRemovalLetsCallsFinish(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "", nil, echo), startBackend(t, "", nil, echo)
	r := newResolver(endpoints(a.addr))
	cc := dial(t, r)
	s, err := openStream(t.Context(), cc, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	say(t, s)
	r.UpdateState(endpoints(b.addr))
	for range 20 {
		who, err := call(t.Context(), cc, "", grpc.WaitForReady(true))
		if err != nil || who != b.addr {
			t.Fatalf("call after the removal: %q, %v; want an answer of %s", who, err, b.addr)
		}
	}
	if who := say(t, s); who != a.addr {
		t.Errorf("the stream moved to %s", who)
	}
	if err := s.CloseSend(); err != nil {
		t.Error(err)
	}
}

// A server that says goodbye (GOAWAY) finishes its streams and fails no call.
func TestGRPCGoAwayMidStream(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "", nil, echo), startBackend(t, "", nil, echo)
	cc := dial(t, newResolver(endpoints(a.addr, b.addr)))
	var s grpc.ClientStream
	for who := ""; who != a.addr; who = say(t, s) { // until one runs on a
		var err error
		if s, err = openStream(t.Context(), cc, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); a.GracefulStop() }()
	for range 50 {
		if _, err := call(t.Context(), cc, ""); err != nil {
			t.Errorf("a call failed while the server left: %v", err)
		}
	}
	if who := say(t, s); who != a.addr {
		t.Errorf("the stream moved to %s", who)
	}
	if err := s.CloseSend(); err != nil {
		t.Error(err)
	}
	b.Stop() // ends the streams that were opened on the way
	<-stopped
}

// A server is killed: calls under way on it fail, all others succeed.
func TestGRPCKill(t *testing.T) {
	t.Parallel()
	entered, never := make(chan string, 10), make(chan struct{})
	defer close(never)
	hang := func(who *string) unaryFunc {
		return func(ctx context.Context, in string) (string, error) {
			if in == "hang" {
				entered <- *who
				select {
				case <-never:
				case <-ctx.Done():
				}
			}
			return *who, nil
		}
	}
	var an, bn string
	a := startBackend(t, "", hang(&an), nil)
	b := startBackend(t, "", hang(&bn), nil)
	an, bn = a.addr, b.addr
	spy := &spyPolicy{}
	st := endpoints(a.addr, b.addr)
	Attach(&st, &Config{Policy: spy, SubsetSize: -1})
	cc := dial(t, newResolver(st))
	spy.connected(t, cc, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results := make(chan error, 10)
	var onA atomic.Int32
	for range 10 {
		go func() {
			_, err := call(ctx, cc, "hang", grpc.WaitForReady(true))
			results <- err
		}()
		if <-entered == a.addr {
			onA.Add(1)
		}
	}
	if onA.Load() == 0 {
		t.Fatal("no call runs on the server to be killed")
	}
	a.Stop()
	for range onA.Load() {
		if err := <-results; status.Code(err) != codes.Unavailable {
			t.Errorf("a call that was under way: %v", err)
		}
	}
	for i := range 100 {
		if who, err := call(t.Context(), cc, ""); err != nil || who != b.addr {
			t.Errorf("call %d after the kill: %q, %v", i, who, err)
		}
	}
	select {
	case err := <-results:
		t.Errorf("a call on the other server ended: %v", err)
	default:
	}
}

// An idle channel closes its policy; the load averages outlive it in the Store.
func TestGRPCIdleKeepsLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lis := bufconn.Listen(1 << 16)
		b := startBackendOn(t, lis, nil, nil)
		spy := &spyPolicy{}
		s := endpoints("10.0.0.1:1")
		Attach(&s, &Config{Policy: spy, SubsetSize: -1, Store: &Store{}})
		cc := dial(t, newResolver(s), grpc.WithIdleTimeout(time.Minute), grpc.WithContextDialer(
			func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
		defer b.Stop()
		defer func() { _ = cc.Close() }()
		if _, err := call(t.Context(), cc, ""); err != nil {
			t.Fatal(err)
		}
		before := spy.nodes()[0]
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := cc.GetState(); got != connectivity.Idle {
			t.Fatalf("the channel is %v, want it idle", got)
		}
		if _, err := call(t.Context(), cc, ""); err != nil {
			t.Fatal(err)
		}
		after := spy.nodes()[0]
		if after == before {
			t.Error("the policy was not closed")
		}
		if after.Load() != before.Load() {
			t.Error("the endpoint's load was forgotten")
		}
	})
}

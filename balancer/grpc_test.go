package balancer

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestGRPCSpreadsOverEndpoints(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "", nil, nil), startBackend(t, "", nil, nil)
	cc := dial(t, newResolver(endpoints(a.addr, b.addr)))
	seen := map[string]int{}
	for deadline := time.Now().Add(10 * time.Second); len(seen) < 2 && time.Now().Before(deadline); {
		who, err := call(t.Context(), cc, "")
		if err != nil {
			t.Fatal(err)
		}
		seen[who]++
	}
	if len(seen) != 2 {
		t.Errorf("calls went to %v, want both endpoints", seen)
	}
}

func TestGRPCRemovalLetsCallsFinish(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "", nil, echo), startBackend(t, "", nil, echo)
	r := newResolver(endpoints(a.addr))
	cc := dial(t, r)
	s, err := openStream(t.Context(), cc, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	say := func() string {
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
	say()
	r.UpdateState(endpoints(b.addr))
	for range 20 {
		who, err := call(t.Context(), cc, "", grpc.WaitForReady(true))
		if err != nil || who != b.addr {
			t.Fatalf("call after the removal: %q, %v; want an answer of %s", who, err, b.addr)
		}
	}
	if who := say(); who != a.addr {
		t.Errorf("the stream moved to %s", who)
	}
	if err := s.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestGRPCServerGoesAway(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "", nil, nil), startBackend(t, "", nil, nil)
	cc := dial(t, newResolver(endpoints(a.addr, b.addr)))
	if _, err := call(t.Context(), cc, "", grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	a.Stop()
	for i := range 50 {
		if who, err := call(t.Context(), cc, "", grpc.WaitForReady(true)); err != nil || who != b.addr {
			if status.Code(err) == codes.Unavailable {
				continue // one that was under way, at most
			}
			t.Fatalf("call %d after the kill: %q, %v", i, who, err)
		}
	}
}

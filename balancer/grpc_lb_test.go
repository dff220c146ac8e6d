package balancer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// settle lets a core that coalesces changes publish them.
func settle() { time.Sleep(time.Second); synctest.Wait() }

func TestLBFailureSticks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, ch := newChannel(t)
		defer l.Close()
		cfg, spy := plainConfig(), &spyPolicy{}
		cfg.Policy = spy
		update(t, l, endpoints("10.0.0.1:1"), cfg)
		c := ch.open()[0]
		refused := status.Error(codes.InvalidArgument, "connection refused") // even as a status it must not end calls that can wait
		for _, step := range []struct {
			to   connectivity.State
			err  error
			want connectivity.State
		}{
			{connectivity.Connecting, nil, connectivity.Connecting},
			{connectivity.TransientFailure, refused, connectivity.TransientFailure},
			{connectivity.Idle, nil, connectivity.TransientFailure},
			{connectivity.Connecting, nil, connectivity.TransientFailure},
			{connectivity.Ready, nil, connectivity.Ready},
			{connectivity.Idle, nil, connectivity.Connecting},
			{connectivity.Connecting, nil, connectivity.Connecting},
			{connectivity.TransientFailure, refused, connectivity.TransientFailure},
		} {
			c.become(step.to, step.err)
			settle()
			if got := ch.connectivity(); got != step.want {
				t.Errorf("after %v the channel is %v, want %v", step.to, got, step.want)
			}
			if got := spy.nodes()[0].State(); (got == Failed) != (step.want == connectivity.TransientFailure) {
				t.Errorf("after %v the node is %v", step.to, got)
			}
		}
		if c.connects != 3 { // at first, and after each Idle
			t.Errorf("%d times told to connect, want 3", c.connects)
		}
		_, err := ch.pick(grpcbalancer.PickInfo{Ctx: t.Context()})
		if _, isStatus := status.FromError(err); isStatus || err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("Pick error is %v (status: %v), want a plain error with the connection's text", err, isStatus)
		}
	})
}

func TestLBLossIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, ch := newChannel(t)
		defer l.Close()
		cfg, spy := plainConfig(), &spyPolicy{}
		cfg.Policy = spy
		update(t, l, endpoints("10.0.0.1:1", "10.0.0.2:1"), cfg)
		a, b := ch.open()[0], ch.open()[1]
		a.become(connectivity.Ready, nil)
		b.become(connectivity.Ready, nil)
		settle()
		a.become(connectivity.Idle, nil)
		for range 10 { // no time passes, nothing is published meanwhile
			r, err := ch.pick(grpcbalancer.PickInfo{Ctx: t.Context()})
			if err != nil || r.SubConn != b {
				t.Fatalf("picked %v, %v; want the ready connection", r.SubConn, err)
			}
			r.Done(grpcbalancer.DoneInfo{}) // grpc found it not ready after all
		}
		for _, n := range spy.nodes() {
			if n.Load().InFlight() != 0 {
				t.Errorf("%d in flight at %s after all are done", n.Load().InFlight(), n.ID)
			}
		}
		// A call that picked a just before waits inside grpc: the same picker again
		// wakes it, though the channel's state did not change.
		before := ch.count()
		settle()
		if ch.count() == before || ch.connectivity() != connectivity.Ready {
			t.Errorf("the loss of a connection was not passed on (channel %v)", ch.connectivity())
		}
	})
}

func TestLBKeepsConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, ch := newChannel(t)
		defer l.Close()
		cfg := plainConfig()
		ep := func(id, addr, spiffe string, weight uint32) *resolver.Endpoint {
			return &resolver.Endpoint{ID: resolver.ID{Source: "aws", Instance: id}, Addr: addr, SPIFFEID: spiffe, Weight: weight}
		}
		one := ep("1", "10.0.0.1:1", "spiffe://td/a", 1)
		give := func(eps ...*resolver.Endpoint) { update(t, l, meshState(t, eps...), cfg); settle() }
		give(one, ep("2", "10.0.0.2:1", "spiffe://td/a", 1))
		before := ch.open()
		if got := resolver.ExpectedSPIFFEID(before[1].addr.Attributes); got != "spiffe://td/a" {
			t.Errorf("the address expects %q", got)
		}
		give(one, ep("2", "10.0.0.2:1", "spiffe://td/a", 7))
		if after := ch.open(); len(after) != 2 || after[0] != before[0] || after[1] != before[1] {
			t.Errorf("a change of weight changed the connections")
		}
		give(one, ep("2", "10.0.0.3:1", "spiffe://td/a", 7))
		if after := ch.open(); len(after) != 2 || after[1] == before[1] || after[1].addr.Addr != "10.0.0.3:1" {
			t.Errorf("a change of address did not change the connection")
		}
		give(one, ep("2", "10.0.0.3:1", "spiffe://td/b", 7))
		if after := ch.open(); len(after) != 2 || resolver.ExpectedSPIFFEID(after[1].addr.Attributes) != "spiffe://td/b" {
			t.Errorf("a change of identity did not change the connection")
		}
		give(one)
		if after := ch.open(); len(after) != 1 || after[0] != before[0] {
			t.Errorf("a removal left %d connections", len(after))
		}
	})
}

func TestLBResolverError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, ch := newChannel(t)
		defer l.Close()
		pick := func() error {
			r, err := ch.pick(grpcbalancer.PickInfo{Ctx: t.Context()})
			if err == nil {
				r.Done(grpcbalancer.DoneInfo{})
			}
			return err
		}
		l.ResolverError(errors.New("registry is away"))
		if ch.connectivity() != connectivity.TransientFailure || !strings.Contains(pick().Error(), "registry is away") {
			t.Errorf("with nothing known: %v, %v", ch.connectivity(), pick())
		}
		update(t, l, endpoints("10.0.0.1:1"), plainConfig())
		settle()
		if err := pick(); !errors.Is(err, grpcbalancer.ErrNoSubConnAvailable) {
			t.Errorf("while connecting: %v", err)
		}
		ch.open()[0].become(connectivity.Ready, nil)
		settle()
		l.ResolverError(errors.New("registry is away"))
		if err := l.UpdateClientConnState(grpcbalancer.ClientConnState{}); !errors.Is(err, grpcbalancer.ErrBadResolverState) {
			t.Errorf("an empty state of a stock resolver gives %v", err)
		}
		settle()
		if err := pick(); err != nil || ch.connectivity() != connectivity.Ready {
			t.Errorf("an error took away what was known: %v, %v", ch.connectivity(), err)
		}
	})
}

func TestLBKnownEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, ch := newChannel(t)
		defer l.Close()
		cfg := plainConfig()
		update(t, l, meshState(t, &resolver.Endpoint{ID: resolver.ID{Instance: "1"}, Addr: "10.0.0.1:1", Weight: 1}), cfg)
		settle()
		update(t, l, meshState(t), cfg)
		settle()
		_, err := ch.pick(grpcbalancer.PickInfo{Ctx: t.Context()})
		if ch.connectivity() != connectivity.TransientFailure || err == nil || !strings.Contains(err.Error(), "no endpoint") {
			t.Errorf("%v, %v; want a failing channel", ch.connectivity(), err)
		}
	})
}

func TestLBChangesConfigWithoutGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, ch := newChannel(t)
		defer l.Close()
		s := endpoints("10.0.0.1:1")
		update(t, l, s, plainConfig())
		old := ch.open()[0]
		old.become(connectivity.Ready, nil)
		settle()
		update(t, l, s, plainConfig()) // another pointer
		settle()
		if n := len(ch.open()); n != 2 {
			t.Fatalf("%d connections while both configurations connect, want 2", n)
		}
		next := ch.open()[1]
		pick := func() grpcbalancer.SubConn {
			r, err := ch.pick(grpcbalancer.PickInfo{Ctx: t.Context()})
			if err != nil {
				t.Fatal(err)
			}
			r.Done(grpcbalancer.DoneInfo{})
			return r.SubConn
		}
		if pick() != old {
			t.Error("a connection that is not ready was picked")
		}
		next.become(connectivity.Connecting, nil)
		next.become(connectivity.Ready, nil)
		settle()
		if pick() != next || !old.shut {
			t.Errorf("the new configuration did not take over (old one shut: %v)", old.shut)
		}
	})
}

func TestAttemptOutcome(t *testing.T) {
	t.Parallel()
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	later := time.Now().Add(time.Hour)
	late := status.Error(codes.DeadlineExceeded, "late")
	for _, tt := range []struct {
		name string
		call *Call
		ctx  context.Context
		info grpcbalancer.DoneInfo
		want resilience.Class
	}{
		{"not started", &Call{}, t.Context(), grpcbalancer.DoneInfo{}, resilience.Neutral},
		{"ok", &Call{}, t.Context(), grpcbalancer.DoneInfo{BytesSent: true, BytesReceived: true}, resilience.Success},
		{"caller's deadline", &Call{}, past, grpcbalancer.DoneInfo{Err: late, BytesSent: true}, resilience.Neutral},
		{"attempt's deadline", &Call{Deadline: later}, past, grpcbalancer.DoneInfo{Err: late, BytesSent: true}, resilience.Retryable},
		{"unavailable", &Call{}, t.Context(), grpcbalancer.DoneInfo{Err: status.Error(codes.Unavailable, ""), BytesSent: true}, resilience.Retryable},
	} {
		a := attempt{call: tt.call, ctx: tt.ctx}
		if got := a.outcome(tt.info).Class; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLBPickAllocatesNothing(t *testing.T) {
	l, ch := newChannel(t)
	spy := &spyPolicy{}
	cfg := plainConfig()
	cfg.Policy = spy
	update(t, l, endpoints("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"), cfg)
	for _, c := range ch.open() {
		c.become(connectivity.Ready, nil)
	}
	ctx, call := NewCall(t.Context(), "payments", "/rig.Rig/Do")
	for name, ctx := range map[string]context.Context{"with a call": ctx, "without": t.Context()} {
		info := grpcbalancer.PickInfo{FullMethodName: "/rig.Rig/Do", Ctx: ctx}
		ok := grpcbalancer.DoneInfo{BytesSent: true, BytesReceived: true}
		for { // until the first publish
			if r, err := ch.pick(info); err == nil {
				r.Done(ok)
				break
			}
		}
		n := testing.AllocsPerRun(1000, func() {
			call.attempts.Store(0)
			r, err := ch.pick(info)
			if err != nil {
				t.Fatal(err)
			}
			r.Done(ok)
		})
		if n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations per pick and done, want 0", name, n)
		}
	}
	for _, n := range spy.nodes() {
		if n.Load().InFlight() != 0 {
			t.Errorf("%d in flight after all are done", n.Load().InFlight())
		}
	}
}

// meshState is what a resolver.Builder delivers.
func meshState(t *testing.T, eps ...*resolver.Endpoint) grpcresolver.State {
	t.Helper()
	var got grpcresolver.State
	cc := stateFunc(func(s grpcresolver.State) { got = s })
	other := &resolver.Endpoint{Addr: "10.9.9.9:9", Weight: 1} // a Builder reports an error instead of an empty first state
	b := resolver.NewBuilder(snapshots{
		{State: resolver.Known, Endpoints: []*resolver.Endpoint{other}}, {State: resolver.Known, Endpoints: eps},
	}, resolver.BuilderConfig{})
	r, err := b.Build(target("mesh:///payments"), cc, grpcresolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	r.Close()
	return got
}

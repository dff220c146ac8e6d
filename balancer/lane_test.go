package balancer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/weft-mesh/weft/resolver"
)

// Rank goes before locality, and a negative one leaves an endpoint out.
func TestRank(t *testing.T) {
	t.Parallel()
	ranks := map[string]int{"a": 1, "d": 0, "e": -1}
	r := newRig(t, Config{Local: aws, Rank: func(ep *resolver.Endpoint) int { return ranks[ep.ID.Instance[:1]] }})
	all := snapshotOf(eps(aws, "a", 2), eps(gcp, "d", 2), eps(azure, "e", 2))
	r.Update(all)
	r.connectAll()
	if got, want := fmt.Sprint(r.order()), "[gcp/-/- aws/eu/eu-a]"; got != want {
		t.Errorf("tiers %s, want %s", got, want)
	}
	if got := r.shares(t, 100, byCloud); got["gcp"] != 1 {
		t.Errorf("shares %v, want all in gcp", got)
	}
	r.Update(snapshotOf(eps(azure, "e", 2)))
	if _, err := r.Pick(&Call{}); !errors.Is(err, ErrNoEndpoint) || !strings.Contains(err.Error(), "none of the 2 instances") {
		t.Errorf("only endpoints that are left out: %v", err)
	}
}

// A source that has yet to answer may have what the others lack.
func TestRankWaitsForSources(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Rank: func(ep *resolver.Endpoint) int {
		if ep.Locality.Cloud == "aws" {
			return 0
		}
		return -1
	}})
	s := *snapshotOf(eps(azure, "e", 2))
	s.State = resolver.Stale
	for _, step := range []struct {
		aws  resolver.State
		want error
	}{{resolver.Unknown, ErrNotReady}, {resolver.Known, ErrNoEndpoint}, {resolver.Unknown, ErrNoEndpoint}} {
		s := s
		s.Sources = []resolver.SourceStatus{{Source: "azure", State: resolver.Known}, {Source: "aws", State: step.aws}}
		r.Update(&s)
		if _, err := r.Pick(&Call{}); !errors.Is(err, step.want) {
			t.Errorf("aws is %v: %v, want %v", step.aws, err, step.want)
		}
	}
}

// laneOf ranks the endpoints at one address.
func laneOf(name, addr string) Lane {
	return Lane{Name: name, Config: &Config{Rank: func(ep *resolver.Endpoint) int {
		if ep.Addr == addr {
			return 0
		}
		return -1
	}}}
}

func inLane(ctx context.Context, lane string) context.Context {
	ctx, c := NewCall(ctx, "shop", "")
	c.Lane = lane
	return ctx
}

func TestGRPCLanes(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "", nil, nil), startBackend(t, "", nil, nil)
	blue, green := laneOf("blue", a.addr), laneOf("green", b.addr)
	state := func(lanes ...Lane) grpcresolver.State {
		s := endpoints(a.addr, b.addr)
		AttachLanes(&s, lanes)
		return s
	}
	r := newResolver(state(blue))
	cc := dial(t, r)
	want := func(lane, addr string) {
		t.Helper()
		for range 10 {
			if who, err := call(inLane(t.Context(), lane), cc, "", grpc.WaitForReady(true)); err != nil || who != addr {
				t.Fatalf("lane %q: %s, %v; want %s", lane, who, err, addr)
			}
		}
	}
	want("blue", a.addr)
	want("", a.addr) // the first one
	early := make(chan string, 1)
	go func() {
		who, _ := call(inLane(t.Context(), "green"), cc, "", grpc.WaitForReady(true))
		early <- who
	}()
	r.UpdateState(state(blue, green))
	if who := <-early; who != b.addr {
		t.Errorf("a call that came before its lane went to %s, want %s", who, b.addr)
	}
	want("green", b.addr)
	want("blue", a.addr)
	r.UpdateState(state(green))
	want("green", b.addr)
	want("", b.addr)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if who, err := call(inLane(ctx, "blue"), cc, ""); err == nil {
		t.Errorf("a lane that ended took a call to %s", who)
	}
}

func TestHTTPLanes(t *testing.T) {
	t.Parallel()
	a, b := site(t, true, nil), site(t, true, nil)
	lanes := map[string]Lane{"blue": laneOf("blue", addrOf(a)), "green": laneOf("green", addrOf(b))}
	tr := newTransport(t, TransportConfig{
		Catalog:   shop(t, resolver.Endpoint{Addr: addrOf(a)}, resolver.Endpoint{Addr: addrOf(b)}),
		Plaintext: true,
		LaneFor: func(service, lane string) (Config, bool) {
			l, ok := lanes[lane]
			if !ok || service != "shop" {
				return Config{}, false
			}
			return *l.Config, true
		},
	})
	for lane, want := range map[string]string{"blue": addrOf(a), "green": addrOf(b)} {
		for range 10 {
			if who, _, err := sendCtx(inLane(t.Context(), lane), t, tr, "GET", ""); err != nil || who != want {
				t.Fatalf("lane %q: %s, %v; want %s", lane, who, err, want)
			}
		}
	}
	if _, _, err := sendCtx(inLane(t.Context(), "red"), t, tr, "GET", ""); err == nil || !strings.Contains(err.Error(), `no lane "red"`) {
		t.Errorf("a lane that does not exist: %v", err)
	}
	if s := tr.Status(); len(s) != 2 || s["shop/blue"].Service != "shop" {
		t.Errorf("status %v", s)
	}
}

package balancer

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// twoClouds is a rig at home in aws, with n endpoints there and in gcp, connected.
func twoClouds(t *testing.T, cfg Config, n int) (*rig, []*resolver.Endpoint) {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = &Store{}
	}
	cfg.Local = aws
	r := newRig(t, cfg)
	list := append(eps(aws, "a", n), eps(gcp, "g", n)...)
	r.Update(snapshotOf(list))
	r.connectAll()
	return r, list
}

func TestEject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &Store{}
		grpc, list := twoClouds(t, Config{Store: store}, 4)
		http, _ := twoClouds(t, Config{Store: store}, 4)
		id := list[0].ID
		store.Eject(id, time.Now().Add(5*time.Second))
		for _, r := range []*rig{grpc, http} {
			if got := r.shares(t, 1000, byName); got[id.Instance] != 0 {
				t.Errorf("picked while ejected: %v", got)
			}
			tier := r.Status().Tiers[0]
			if tier.Healthy != 0.75 || !tier.Nodes[0].Ejected || tier.Nodes[0].State != Ready || len(tier.Nodes) != 4 {
				t.Errorf("%+v", tier)
			}
		}
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		if got := grpc.shares(t, 10_000, byName)[id.Instance]; got == 0 || got > 0.06 {
			t.Errorf("share %v right after an ejection, want a slow start", got)
		}
		time.Sleep(30 * time.Second)
		if got := grpc.shares(t, 10_000, byName)[id.Instance]; got < 0.2 {
			t.Errorf("share %v 30 s after an ejection", got)
		}
		store.Eject(id, time.Now().Add(time.Hour))
		store.Eject(id, time.Time{})
		if got := grpc.shares(t, 10_000, byName)[id.Instance]; got == 0 {
			t.Error("still ejected")
		}
		store.Eject(resolver.ID{Instance: "unknown"}, time.Now().Add(time.Hour))
	})
}

func TestEjectionOutlivesNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &Store{}
		r, list := twoClouds(t, Config{Store: store}, 3)
		store.Eject(list[0].ID, time.Now().Add(time.Minute))
		r.Close()
		r, _ = twoClouds(t, Config{Store: store}, 3)
		if got := r.shares(t, 1000, byName); got["a0"] != 0 || got[list[0].ID.Instance] != 0 {
			t.Error(got)
		}
		for _, n := range r.open() { // a lost and remade connection does not end it
			r.SetState(n, Failed, errRefused)
			r.SetState(n, Ready, nil)
			if n.ID == list[0].ID && n.Ready() {
				t.Error("a new connection let an ejected endpoint in until the next publish")
			}
		}
		r.flush()
		if got := r.shares(t, 1000, byName); got[list[0].ID.Instance] != 0 {
			t.Error(got)
		}
	})
}

func TestPanicIgnoresEjections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		list := eps(aws, "a", 4)
		r.Update(snapshotOf(list))
		r.connectAll()
		until := time.Now().Add(time.Minute)
		for i, want := range []int{3, 2, 4, 4} { // half may go; beyond, all are used
			r.cfg.Store.Eject(list[i].ID, until)
			if got := r.shares(t, 2000, byName); len(got) != want {
				t.Errorf("%d ejected: %d in use, want %d", i+1, len(got), want)
			}
		}
	})
}

func TestEjectedWithoutPanicSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{PanicBelow: -1})
	list := eps(aws, "a", 2)
	r.Update(snapshotOf(list))
	r.connectAll()
	for _, ep := range list {
		r.cfg.Store.Eject(ep.ID, time.Now().Add(time.Minute))
	}
	if _, err := r.Pick(&Call{}); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("pick: %v", err)
	}
	if s, err := r.State(); s != Ready || err != nil {
		t.Errorf("%v, %v: calls would wait", s, err)
	}
}

func TestDegradeMovesLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, list := twoClouds(t, Config{}, 4)
		for _, ep := range list[:3] {
			r.cfg.Store.Degrade(ep.ID, time.Now().Add(10*time.Second))
		}
		got := r.shares(t, 10_000, byCloud)
		if got["aws"] < 0.3 || got["aws"] > 0.4 { // 1.4 · 25 %
			t.Errorf("shares %v", got)
		}
		r.connectAll() // gcp had only its warm connections
		if n := len(r.shares(t, 10_000, byName)); n < 8 {
			t.Errorf("%d endpoints in use: a degraded one may be picked", n)
		}
		time.Sleep(30 * time.Second)
		if got := r.shares(t, 1000, byCloud); got["aws"] != 1 {
			t.Errorf("shares %v after the end", got)
		}
	})
}

func TestCloseCloud(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _ := twoClouds(t, Config{}, 4)
		service := r.Status().Service
		r.cfg.Store.CloseCloud("other", "aws", time.Now().Add(time.Minute))
		if got := r.shares(t, 1000, byCloud); got["aws"] != 1 {
			t.Errorf("shares %v: another service's breaker is open", got)
		}
		r.cfg.Store.CloseCloud(service, "aws", time.Now().Add(5*time.Second))
		if got := r.shares(t, 1000, byCloud); got["gcp"] != 1 {
			t.Errorf("shares %v while aws is closed", got)
		}
		time.Sleep(5*time.Second + time.Millisecond)
		if got := r.shares(t, 1000, byCloud); got["gcp"] != 1 {
			t.Errorf("shares %v: it came back at once", got)
		}
		time.Sleep(30 * time.Second)
		if got := r.shares(t, 1000, byCloud); got["aws"] != 1 {
			t.Errorf("shares %v 30 s after it opened", got)
		}
		for _, cloud := range []string{"aws", "gcp"} { // nowhere to go: the breakers decide, call by call
			r.cfg.Store.CloseCloud(service, cloud, time.Now().Add(time.Minute))
		}
		if got := r.shares(t, 1000, byCloud); len(got) == 0 {
			t.Error("nothing is picked")
		}
		r.cfg.Store.CloseCloud(service, "aws", time.Time{})
		r.cfg.Store.CloseCloud(service, "gcp", time.Time{})
		if len(r.cfg.Store.clouds) != 1 { // the other service's
			t.Error("open clouds are kept")
		}
	})
}

// An endpoint that fails fast is ejected after five failures and attracts
// nothing; the others serve (drill D11).
func TestOutlierEjectsThroughTheBalancer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, err := resilience.NewOutlier(resilience.OutlierConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		observed := 0
		r, list := twoClouds(t, Config{Outlier: o, Policy: RoundRobin{}, Observe: func(n *Node, _ resilience.Outcome, took time.Duration) {
			observed++
			if took != time.Millisecond {
				t.Errorf("%v took %v", n.ID, took)
			}
		}}, 4)
		bad, failed := list[0].ID, 0
		for range 1000 {
			n, err := r.Pick(&Call{})
			if err != nil {
				t.Fatal(err)
			}
			out, start := resilience.Outcome{Class: resilience.Success}, Now()
			if n.ID == bad {
				out.Class = resilience.Retryable
				failed++
			}
			time.Sleep(time.Millisecond)
			n.Done(start, out)
		}
		if failed != 5 || observed != 1000 {
			t.Errorf("%d failures before the ejection, %d observed", failed, observed)
		}
		r.Close()
	})
}

// A stream's success is no latency, and ends a row of failures.
func TestStreamsAreObserved(t *testing.T) {
	t.Parallel()
	o, err := resilience.NewOutlier(resilience.OutlierConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r := newRig(t, Config{Outlier: o})
	r.Update(snapshotOf(eps(aws, "a", 2)))
	r.connectAll()
	n := r.open()[0]
	for range 20 {
		for range 4 {
			n.begin()
			n.doneStream(Now(), resilience.Outcome{Class: resilience.Failure})
		}
		n.begin()
		n.doneStream(Now(), resilience.Outcome{Class: resilience.Success})
	}
	if r.Status().Tiers[0].Nodes[0].Ejected || r.Status().Tiers[0].Nodes[1].Ejected {
		t.Error("ejected")
	}
	if _, known := n.Load().Latency(); known || n.Load().InFlight() != 0 {
		t.Errorf("latency known: %v, in flight %d", known, n.Load().InFlight())
	}
}

func TestWatchedPickAllocatesNothing(t *testing.T) {
	o, err := resilience.NewOutlier(resilience.OutlierConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r := newRig(t, Config{Outlier: o, Observe: func(*Node, resilience.Outcome, time.Duration) {}})
	r.Update(snapshotOf(eps(aws, "a", 4)))
	r.connectAll()
	call := &Call{}
	if n := testing.AllocsPerRun(1000, func() {
		n, _ := r.Pick(call)
		n.Done(Now(), resilience.Outcome{Class: resilience.Success})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package balancer

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

func TestFirstPicks(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	if _, err := r.Pick(&Call{}); !errors.Is(err, ErrNotReady) {
		t.Fatalf("before the first snapshot: %v", err)
	}
	r.Update(&resolver.Snapshot{Service: "pay", Reason: errRefused})
	if _, err := r.Pick(&Call{}); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("unknown: %v", err)
	}
	r.Update(snapshotOf())
	if _, err := r.Pick(&Call{}); !errors.Is(err, ErrNoEndpoint) || !strings.Contains(err.Error(), `"pay"`) {
		t.Fatalf("known to be empty: %v", err)
	}
	r.Update(snapshotOf(eps(aws, "a", 3)))
	if _, err := r.Pick(&Call{}); !errors.Is(err, ErrNotReady) {
		t.Fatalf("connecting: %v", err)
	}
	if s, _ := r.State(); s != Connecting {
		t.Fatalf("state %v", s)
	}
	for _, n := range r.open() {
		r.SetState(n, Failed, errRefused)
	}
	if s, err := r.State(); s != Failed || err != errRefused {
		t.Fatalf("state %v %v", s, err)
	}
	n := r.open()[0]
	r.SetState(n, Ready, nil)
	if got, err := r.Pick(&Call{}); err != nil || got != n {
		t.Fatalf("one ready: %v %v", got, err)
	}
	if n.Load().InFlight() != 1 {
		t.Fatal("the pick was not counted")
	}
	n.Done(Now(), success)
	r.Update(&resolver.Snapshot{Service: "pay", State: resolver.Unknown})
	if _, err := r.Pick(&Call{}); err != nil {
		t.Fatalf("an unknown snapshot must keep what is known: %v", err)
	}
	r.Close()
	if _, err := r.Pick(&Call{}); !errors.Is(err, ErrNoEndpoint) {
		t.Fatalf("closed: %v", err)
	}
}

func TestAllFailedNamesTheReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.auto = func(*Node) (ConnState, error) { return Failed, errRefused }
		r.Update(snapshotOf(eps(aws, "a", 3)))
		r.connectAll()
		time.Sleep(publishEvery)
		synctest.Wait()
		_, err := r.Pick(&Call{})
		if !errors.Is(err, errRefused) || errors.Is(err, ErrNotReady) {
			t.Fatalf("%v", err)
		}
		r.Close()
	})
}

// Ten thousand endpoints, all connected: the work of a change is that of the change.
func TestScaleBytes(t *testing.T) {
	list := eps(aws, "a", 10000)
	r := newRig(t, Config{SubsetSize: -1})
	nodes := make([]*Node, 0, len(list))
	r.tr = Connector{Connect: func(n *Node) Conn { nodes = append(nodes, n); return nil }}
	s := snapshotOf(list)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	r.Update(s)
	for _, n := range nodes {
		r.SetState(n, Ready, nil)
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 20<<20 {
		t.Errorf("accepting %d endpoints allocated %d bytes", len(list), bytes)
	} else {
		t.Logf("%d bytes, %v", bytes, took)
	}
	if n := testing.AllocsPerRun(10, func() { r.Update(s) }); n > 100 {
		t.Errorf("an update without a change made %v allocations", n)
	}
}

func TestSubsetMemory(t *testing.T) {
	s := snapshotOf(eps(aws, "a", 100000))
	r := newRig(t, Config{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.Update(s)
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 2<<20 {
		t.Errorf("a subset of 100000 endpoints allocated %d bytes", bytes)
	}
	if n := len(r.open()); n != 16 {
		t.Errorf("%d connections", n)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	nop := Connector{Connect: func(*Node) Conn { return nil }}
	for field, cfg := range map[string]Config{
		"Overprovision":        {Overprovision: 0.5},
		"Config.Overprovision": {Overprovision: math.NaN()},
		"PanicBelow":           {PanicBelow: 1.5},
		"CloudOrder":           {CloudOrder: []string{"a", "a"}},
		"CloudOrder[0]":        {CloudOrder: []string{""}},
		"LeastRequest.Choices": {Policy: LeastRequest{Choices: 1}},
		"PeakEWMA.Decay":       {Policy: PeakEWMA{Decay: -1}},
		"RingHash.MinRing":     {Policy: RingHash{MinRing: -1}},
		"RingHash.MinRing 10":  {Policy: RingHash{MinRing: 10, MaxRing: 5}},
		"RingHash.LoadFactor":  {Policy: RingHash{LoadFactor: 0.5}},
		"Maglev.TableSize":     {Policy: Maglev{TableSize: 1000}},
		"Maglev.LoadFactor":    {Policy: Maglev{LoadFactor: math.NaN()}},
	} {
		if _, err := New(cfg, nop); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := New(Config{}, Connector{}); err == nil {
		t.Error("no Connect was accepted")
	}
}

func BenchmarkAccept10k(b *testing.B) {
	s := snapshotOf(eps(aws, "a", 10000))
	b.ReportAllocs()
	for b.Loop() {
		var nodes []*Node
		lb, err := New(Config{SubsetSize: -1}, Connector{Connect: func(n *Node) Conn { nodes = append(nodes, n); return nil }})
		if err != nil {
			b.Fatal(err)
		}
		lb.Update(s)
		for _, n := range nodes {
			lb.SetState(n, Ready, nil)
		}
		lb.Close()
	}
}

func BenchmarkChangeOneOf100k(b *testing.B) {
	list := eps(aws, "a", 100_000)
	changed := make([]*resolver.Endpoint, len(list))
	copy(changed, list)
	other := *list[50_000]
	other.Weight = 2
	changed[50_000] = &other
	r := newRig(b, Config{})
	r.Update(snapshotOf(list))
	states := []*resolver.Snapshot{snapshotOf(changed), snapshotOf(list)}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		r.Update(states[i%2])
		i++
	}
}

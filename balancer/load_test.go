package balancer

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// sample ends an attempt of the node that took d, at the fake time end.
func sample(n *Node, end, d time.Duration, c resilience.Class) {
	n.begin()
	n.load.done(int64(end-d), int64(end), resilience.Outcome{Class: c}, n.invDecay)
}

// serve lets workers work on the nodes for a time in steps of 1 ms: each worker
// picks, waits what took says, and picks again.
func serve(t *testing.T, r *rig, workers int, from, d time.Duration, took func(*Node) (time.Duration, resilience.Class)) map[*Node]int {
	t.Helper()
	type job struct {
		n          *Node
		start, end time.Duration
		class      resilience.Class
	}
	r.cfg.Store.clock.tick.Store(tickOf(int64(from))) // the coarse clock of the picks
	jobs := make([]job, workers)
	counts := map[*Node]int{}
	for at := from; at < from+d; at += time.Millisecond {
		for i := range jobs {
			j := &jobs[i]
			if j.n != nil && at < j.end {
				continue
			}
			if j.n != nil {
				j.n.load.done(int64(j.start), int64(at), resilience.Outcome{Class: j.class}, j.n.invDecay)
			}
			n, err := r.Pick(&Call{})
			if err != nil {
				t.Fatal(err)
			}
			counts[n]++
			lat, class := took(n)
			*j = job{n, at, at + lat, class}
		}
	}
	for _, j := range jobs {
		if j.n != nil {
			j.n.undo()
		}
	}
	return counts
}

func total(counts map[*Node]int) (sum int) {
	for _, c := range counts {
		sum += c
	}
	return sum
}

// A node that fails at once always looks idle. It must get less than its share,
// and nearly nothing once it is known.
func TestFastFailureAttractsNothing(t *testing.T) {
	t.Parallel()
	for _, policy := range []Policy{PeakEWMA{}, LeastRequest{}} {
		for _, class := range []resilience.Class{resilience.Failure, resilience.Retryable, resilience.Throttled} {
			r := newRig(t, Config{Policy: policy})
			r.Update(snapshotOf(eps(aws, "a", 6)))
			r.connectAll()
			bad := r.open()[0]
			took := func(n *Node) (time.Duration, resilience.Class) {
				if n == bad {
					return time.Millisecond, class
				}
				return 20 * time.Millisecond, resilience.Success
			}
			first := serve(t, r, 20, time.Second, time.Second, took)
			if share := float64(first[bad]) / float64(total(first)); share > 1.0/6 {
				t.Errorf("%T, %v: the failing node took %.2f of the first second", policy, class, share)
			}
			then := serve(t, r, 20, 2*time.Second, 5*time.Second, took)
			if share := float64(then[bad]) / float64(total(then)); share > 0.03 {
				t.Errorf("%T, %v: the failing node took %.3f of the traffic", policy, class, share)
			}
			healed := serve(t, r, 20, 40*time.Second, 5*time.Second, func(*Node) (time.Duration, resilience.Class) {
				return 20 * time.Millisecond, resilience.Success
			})
			if share := float64(healed[bad]) / float64(total(healed)); share < 0.8/6 {
				t.Errorf("%T, %v: the repaired node took only %.3f", policy, class, share)
			}
		}
	}
}

// Two of six have fallen silent. Two silences each are enough that no pair of them
// costs a call, as one pair in fifteen would; while all are silent, all are used.
func TestSilentPairCostsNothing(t *testing.T) {
	t.Parallel()
	for _, policy := range []Policy{PeakEWMA{}, LeastRequest{}} {
		r := newRig(t, Config{Policy: policy})
		r.Update(snapshotOf(eps(aws, "a", 6)))
		r.connectAll()
		nodes := r.open()
		r.cfg.Store.clock.tick.Store(tickOf(int64(time.Second)))
		mute := func(nodes []*Node) {
			for range 2 * len(nodes) {
				n := nodes[0]
				nodes = append(nodes[1:], n)
				n.begin()
				n.load.done(int64(time.Second), int64(time.Second), resilience.Outcome{Class: resilience.Failure, Silent: true}, n.invDecay)
			}
		}
		picks := func() map[*Node]int {
			counts := map[*Node]int{}
			for range 10000 {
				n, err := r.Pick(&Call{})
				if err != nil {
					t.Fatal(err)
				}
				n.undo()
				counts[n]++
			}
			return counts
		}
		mute(nodes[:2:2])
		counts := picks()
		if n := counts[nodes[0]] + counts[nodes[1]]; n > 10 {
			t.Errorf("%T: %d of 10000 picks went to the silent nodes", policy, n)
		}
		mute(nodes[2:])
		counts = picks()
		for _, n := range nodes {
			if counts[n] == 0 {
				t.Errorf("%T: %s is not used, while all are silent", policy, n.ID)
			}
		}
	}
}

// An attempt that its deadline ends, at an endpoint that answers nobody, counts half,
// one at an endpoint that does answer counts nothing, and neither is a latency.
func TestSilenceIsLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, err := resilience.NewOutlier(resilience.OutlierConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		r := newRig(t, Config{Outlier: o})
		r.Update(snapshotOf(eps(aws, "a", 2)))
		r.connectAll()
		silent := resilience.Outcome{Class: resilience.Neutral, Silent: true}
		for i, n := range r.open() {
			start := Now()
			n.begin()
			if time.Sleep(time.Second); i == 0 {
				n.begin()
				n.Done(Now(), resilience.Outcome{Class: resilience.Success})
			}
			latency, _ := n.Load().Latency()
			n.Done(start, silent)
			if got, want := n.Load().FailureShare(), 0.5*float64(i); math.Abs(got-want) > 0.01 {
				t.Errorf("node %d: a share of failures of %.3f, want %.1f", i, got, want)
			}
			if now, _ := n.Load().Latency(); now != latency {
				t.Errorf("node %d: the latency went from %v to %v", i, latency, now)
			}
		}
	})
}

// One of six is slow by half a second: less than a third of its fair share in
// 10 s, and most of it again within 30 s of the repair.
func TestSlowNode(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	r.Update(snapshotOf(eps(aws, "a", 6)))
	r.connectAll()
	slow, repaired := r.open()[0], false
	took := func(n *Node) (time.Duration, resilience.Class) {
		d := time.Duration(4+rand.IntN(4)) * time.Millisecond
		if n == slow && !repaired {
			d += 500 * time.Millisecond
		}
		return d, resilience.Success
	}
	counts := serve(t, r, 12, time.Second, 10*time.Second, took)
	if share := float64(counts[slow]) / float64(total(counts)); share > 1.0/18 {
		t.Errorf("the slow node took %.3f", share)
	}
	repaired = true
	serve(t, r, 12, 11*time.Second, 25*time.Second, took)
	counts = serve(t, r, 12, 36*time.Second, 5*time.Second, took)
	if share := float64(counts[slow]) / float64(total(counts)); share < 0.8/6 {
		t.Errorf("30 s after the repair the node took %.3f", share)
	}
}

// A node without history competes as an equal, not as the fastest.
func TestColdNodeShare(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{SlowStart: -1})
	list := eps(aws, "a", 10)
	r.Update(snapshotOf(list[:9]))
	r.connectAll()
	took := func(*Node) (time.Duration, resilience.Class) { return 20 * time.Millisecond, resilience.Success }
	serve(t, r, 20, time.Second, time.Second, took)
	r.Update(snapshotOf(list))
	r.connectAll()
	var cold *Node
	for _, n := range r.open() {
		if _, ok := n.Load().Latency(); !ok {
			cold = n
		}
	}
	counts := map[*Node]int{}
	for range 10 { // before its first answer, again and again
		cold.load.ewma.Store(0)
		for n, c := range serve(t, r, 20, 3*time.Second, 19*time.Millisecond, took) {
			counts[n] += c
		}
	}
	if share := float64(counts[cold]) / float64(total(counts)); share > 0.2 || share == 0 {
		t.Errorf("the cold node took %.3f of the traffic, its share is 0.1", share)
	}
}

func TestEWMA(t *testing.T) {
	t.Parallel()
	n := &Node{load: &Load{clock: new(clock)}, invDecay: inverseDecay(defaultDecay)}
	at := time.Hour
	near := func(want time.Duration) {
		t.Helper()
		if got, ok := n.Load().Latency(); !ok || got < want*9/10 || got > want*11/10 {
			t.Errorf("latency %v, want about %v", got, want)
		}
	}
	sample(n, at, time.Millisecond, resilience.Failure)
	if _, ok := n.Load().Latency(); ok || n.Load().FailureShare() == 0 {
		t.Error("a failure must be remembered and is no latency")
	}
	sample(n, at, 10*time.Millisecond, resilience.Success)
	near(10 * time.Millisecond)
	sample(n, at, time.Second, resilience.Success) // jumps up
	near(time.Second)
	word := n.load.ewma.Load()
	sample(n, at+time.Minute, time.Nanosecond, resilience.Neutral)
	if n.load.ewma.Load() != word {
		t.Error("a neutral outcome changed the load")
	}
	sample(n, at+time.Minute, time.Nanosecond, resilience.Failure)
	near(time.Second)
	sample(n, at+2*time.Minute, 10*time.Millisecond, resilience.Success) // the peak is long ago
	near(10 * time.Millisecond)
	for i := range 10 * 1000 { // e^-1 of the way in 10 s, however many samples
		sample(n, at+2*time.Minute+time.Duration(i)*time.Millisecond, 40*time.Millisecond, resilience.Success)
	}
	near(40 * time.Millisecond)
	for i := range 10 * 1000 {
		sample(n, at+3*time.Minute+time.Duration(i)*time.Millisecond, 10*time.Millisecond, resilience.Success)
	}
	got, _ := n.Load().Latency()
	t.Log("after the decay:", got)
	if got > 17*time.Millisecond { // 10 ms · 4^(1/e) = 16.6
		t.Errorf("latency %v did not decay", got)
	}
	if n.Load().InFlight() != 0 {
		t.Error("in flight", n.Load().InFlight())
	}
	sample(n, at+4*time.Minute, -time.Second, resilience.Success) // a clock that goes back
	sample(n, at+4*time.Minute, 200*time.Hour, resilience.Success)
	if d, ok := n.Load().Latency(); !ok || d <= 0 {
		t.Error("latency", d)
	}
}

// The load survives updates, and other balancers of the same Store see it.
func TestLoadSurvives(t *testing.T) {
	t.Parallel()
	store := &Store{}
	list := eps(aws, "a", 3)
	r := newRig(t, Config{Store: store})
	r.Update(snapshotOf(list))
	r.connectAll()
	n := r.open()[0]
	sample(n, time.Hour, time.Second, resilience.Success)
	changed := with(list, func(_ int, ep *resolver.Endpoint) { ep.Addr = "10.9.9.9:1"; ep.Weight = 3 })
	r.Update(snapshotOf(changed))
	r.connectAll()
	for _, m := range r.open() {
		if m == n {
			t.Fatal("a new address needs a new connection")
		}
		if m.ID == n.ID && m.Load() != n.Load() {
			t.Error("the load was lost with the address")
		}
	}
	r.Close()
	again := newRig(t, Config{Store: store})
	again.Update(snapshotOf(list))
	for _, m := range again.open() {
		if m.ID == n.ID {
			if d, ok := m.Load().Latency(); !ok || d < 900*time.Millisecond {
				t.Error("the load was lost with the balancer")
			}
		}
	}
	again.Close()
	store.mu.Lock()
	defer store.mu.Unlock()
	if len(store.loads) != 3 {
		t.Errorf("%d loads", len(store.loads))
	}
	store.sweepLocked(Now() + int64(2*keepIdle))
	if len(store.loads) != 0 {
		t.Errorf("%d loads are kept for nobody", len(store.loads))
	}
}

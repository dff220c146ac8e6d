package chain

import (
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// canary drives calls over a guarded 90/10 split in a bubble.
type canary struct {
	t      *testing.T
	e      *Evaluator
	g      *Guard
	events []GuardEvent
	draw   float64
}

func newCanary(t *testing.T, o Objective) *canary {
	c := &canary{t: t}
	c.g = NewGuard(GuardConfig{OnEvent: func(ev GuardEvent) { c.events = append(c.events, ev) }})
	c.e = c.over(split(90, 10), o)
	return c
}

func (c *canary) over(ch *Chain, o Objective) *Evaluator {
	e, bad, err := New(ch, Options{Guard: c.g, Policy: Policy{Guard: o}, Rand: func() float64 { c.draw = math.Mod(c.draw+0.618033988749895, 1); return c.draw }})
	if err != nil || len(bad) > 0 {
		c.t.Fatal(err, bad)
	}
	return e
}

// run makes calls for a time, two hundred per second, and counts those to v2.
func (c *canary) run(d time.Duration, end func(subset string, i int) (failed bool, took time.Duration)) (calls, v2 int) {
	for until := time.Now().Add(d); time.Now().Before(until); calls++ {
		p := c.e.Route(&Request{}).Plan
		if p.Target.ServiceSubset == "v2" {
			v2++
		}
		failed, took := end(p.Target.ServiceSubset, calls)
		p.Done(failed, took)
		time.Sleep(5 * time.Millisecond)
	}
	return calls, v2
}

func (c *canary) share() float64 {
	for _, s := range c.g.Status() {
		if !s.Baseline {
			return s.Share
		}
	}
	c.t.Fatal("no branch is under guard")
	return 0
}

func well(string, int) (bool, time.Duration) { return false, 10 * time.Millisecond }

func failing(subset string, i int) (bool, time.Duration) {
	return subset == "v2" && i%2 == 0, 10 * time.Millisecond
}

func TestGuardTakesOutAndLetsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCanary(t, Objective{MaxErrors: 0.05, Hold: 20 * time.Second})
		if n, v2 := c.run(20*time.Second, well); v2 < n/12 || v2 > n/8 || len(c.events) > 0 {
			t.Fatalf("%d of %d calls to v2, events %v", v2, n, c.events)
		}
		began := time.Now()
		if _, v2 := c.run(15*time.Second, failing); v2 > 200 {
			t.Errorf("%d calls to a canary of which half fail", v2)
		}
		if len(c.events) != 1 || c.events[0].Kind != TakenOut || c.events[0].Target != "v2.web" || c.events[0].Splitter != "web" || c.events[0].Service != "web" ||
			!strings.Contains(c.events[0].Reason, "of the baseline") {
			t.Fatalf("events %+v", c.events)
		}
		if out := c.events[0].Until.Add(-20 * time.Second).Sub(began); out > 2*time.Second {
			t.Errorf("it took %v", out)
		}
		if c.share() != 0 {
			t.Errorf("share %v", c.share())
		}
		if n, v2 := c.run(4*time.Second, failing); v2 != 0 {
			t.Errorf("%d of %d calls to v2 while it is out", v2, n)
		}
		c.run(2500*time.Millisecond, well)
		if len(c.events) != 2 || c.events[1].Kind != Returning || c.share() != 0.1 {
			t.Fatalf("events %v, share %v", c.events, c.share())
		}
		last := c.share()
		for range 25 {
			c.run(time.Second, well)
			if s := c.share(); s < last || s > last+0.11 {
				t.Errorf("share %v after %v", s, last)
			} else {
				last = s
			}
		}
		if last != 1 || len(c.events) != 3 || c.events[2].Kind != Restored {
			t.Errorf("share %v, events %v", last, c.events)
		}
	})
}

func TestGuardHoldsLongerEachTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCanary(t, Objective{MaxErrors: 0.05, MinVolume: 10, Hold: 4 * time.Second})
		c.run(250*time.Second, failing)
		var holds []time.Duration
		var out time.Time
		for _, ev := range c.events {
			switch ev.Kind {
			case TakenOut:
				out = ev.Until
				holds = append(holds, time.Until(ev.Until))
			case Returning:
				if out.IsZero() {
					t.Error("it returns without having been out")
				}
			case Restored:
				t.Error("it is restored")
			}
		}
		if len(holds) < 5 {
			t.Fatalf("taken out %d times", len(holds))
		}
		var gaps []time.Duration
		for i := 1; i < len(holds); i++ {
			gaps = append(gaps, (holds[i] - holds[i-1]).Round(time.Second))
		}
		for i := 1; i < len(gaps); i++ {
			if gaps[i] < gaps[i-1] || gaps[i] > 100*time.Second {
				t.Errorf("the times between are %v", gaps)
				break
			}
		}
	})
}

func TestGuardJudges(t *testing.T) {
	t.Parallel()
	slow := func(of string, by time.Duration) func(string, int) (bool, time.Duration) {
		return func(subset string, i int) (bool, time.Duration) {
			took := 10*time.Millisecond + time.Duration(i%7)*time.Millisecond
			if subset == of {
				took += by
			}
			return false, took
		}
	}
	for _, tc := range []struct {
		name string
		o    Objective
		end  func(string, int) (bool, time.Duration)
		out  bool
	}{
		{"well", Objective{MaxErrors: 0.01, MaxLatency: 1.5}, slow("", 0), false},
		{"slow", Objective{MaxLatency: 1.5}, slow("v2", 20*time.Millisecond), true},
		{"slow within bounds", Objective{MaxLatency: 2}, slow("v2", 5*time.Millisecond), false},
		{"slow, but latency is not judged", Objective{MaxErrors: 0.1}, slow("v2", time.Second), false},
		{"slow baseline", Objective{MaxLatency: 1.5}, slow("v1", time.Second), false},
		{"baseline fails as well", Objective{MaxErrors: 0.05}, func(_ string, i int) (bool, time.Duration) { return i%2 == 0, 0 }, false},
		{"baseline fails alone", Objective{MaxErrors: 0.05}, func(s string, i int) (bool, time.Duration) { return s == "v1" && i%2 == 0, 0 }, false},
		{"fails, but errors are not judged", Objective{MaxLatency: 2}, failing, false},
		{"fails within bounds", Objective{MaxErrors: 0.6}, failing, false},
		{"fails", Objective{MaxErrors: 0.4}, failing, true},
		{"too few calls", Objective{MaxErrors: 0.05, MinVolume: 5000}, failing, false},
		{"two failures are no evidence", Objective{MaxErrors: 0.0001}, func(s string, i int) (bool, time.Duration) { return s == "v2" && i < 20, 0 }, false},
		{"baseline by name", Objective{MaxErrors: 0.05, Baseline: "v2"}, func(s string, i int) (bool, time.Duration) { return s == "v1" && i%2 == 0, 0 }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCanary(t, tc.o)
				c.run(12*time.Second, tc.end)
				if out := len(c.events) > 0; out != tc.out {
					t.Errorf("events %+v", c.events)
				}
			})
		})
	}
}

// A changed weight does not bring a bad branch back; a changed objective that judges
// nothing does.
func TestGuardOutlivesEvaluators(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := Objective{MaxErrors: 0.05}
		c := newCanary(t, o)
		c.run(10*time.Second, failing)
		if c.share() != 0 {
			t.Fatal("it is not out")
		}
		c.e = c.over(split(50, 50), o)
		if _, v2 := c.run(time.Second, failing); v2 != 0 || c.share() != 0 {
			t.Errorf("%d calls after a new weight", v2)
		}
		o.Window = 5 * time.Second
		c.e = c.over(split(50, 50), o)
		if _, v2 := c.run(time.Second, failing); v2 != 0 || c.share() != 0 {
			t.Errorf("%d calls after a new window", v2)
		}
		x := c.e.Explain(&Request{Draw: 0.99, HasDraw: true})
		if x.Splits[0].Share != 100 || x.Splits[1].Share != 0 || x.Splits[1].Why != "the guard leaves it 0 % of its weight" {
			t.Errorf("explained as\n%s", x)
		}
		c.e = c.over(split(50, 50), Objective{})
		if n, v2 := c.run(time.Second, well); v2 < n/3 || len(c.g.Status()) != 0 {
			t.Errorf("%d of %d calls without an objective", v2, n)
		}
	})
}

// The chains of two services share a splitter, and a chain is refused: the guard of
// the first service stays as it is.
func TestGuardKeepsServicesApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := Objective{MaxErrors: 0.05}
		c := newCanary(t, o)
		c.run(10*time.Second, failing)
		before := c.g.Status()
		other := split(90, 10)
		other.ServiceName = "other"
		c.over(other, Objective{})
		broken := split(50, 50)
		broken.Nodes["splitter:web"].Splits[1].NextNode = "nowhere"
		if _, _, err := New(broken, Options{Guard: c.g}); err == nil {
			t.Error("the broken chain is taken")
		}
		late := routes(&HTTPMatch{})
		for k, n := range split(100).Nodes {
			late.Nodes[k] = n
		}
		late.Targets["v1.web"] = split(100).Targets["v1.web"]
		late.Nodes[late.StartNode].Routes[0].NextNode = "splitter:web"
		late.Nodes[late.StartNode].Routes[1].NextNode = "nowhere"
		if _, _, err := New(late, Options{Guard: c.g}); err == nil {
			t.Error("the chain that breaks late is taken")
		}
		if after := c.g.Status(); !slices.Equal(before, after) {
			t.Errorf("%+v became %+v", before, after)
		}
		if c.share() != 0 {
			t.Errorf("share %v", c.share())
		}
		c.over(other, o)
		list := c.g.Status()
		if len(list) != 4 || list[0].Service != "other" || list[3] != (GuardStatus{"web", "web", "v2.web", 0, false}) {
			t.Errorf("status %+v", list)
		}
		c.over(routes(), o)
		if list := c.g.Status(); len(list) != 2 || list[0].Service != "other" {
			t.Errorf("status %+v after the splitter of web is gone", list)
		}
	})
}

// If nothing else has weight, a branch that is out is all there is.
func TestGuardLeavesSomething(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCanary(t, Objective{MaxErrors: 0.05})
		c.run(10*time.Second, failing)
		c.e = c.over(split(0, 100), Objective{MaxErrors: 0.05})
		for _, r := range []*Request{{}, {Key: "k"}} {
			if got := c.e.Route(r).Target.ServiceSubset; got != "v2" {
				t.Errorf("it goes to %s", got)
			}
		}
	})
}

// Sticky users of a branch that is out go elsewhere, all others stay.
func TestGuardAndStickyUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCanary(t, Objective{MaxErrors: 0.05, Hold: 10 * time.Second})
		before := make([]string, 1000)
		for i := range before {
			before[i] = c.e.Route(keys(i)).Target.ServiceSubset
		}
		c.run(10*time.Second, failing)
		for i := range before {
			if after := c.e.Route(keys(i)).Target.ServiceSubset; after != "v1" {
				t.Fatalf("user %d goes from %s to %s", i, before[i], after)
			}
		}
		c.run(40*time.Second, well)
		for i := range before {
			if after := c.e.Route(keys(i)).Target.ServiceSubset; after != before[i] {
				t.Fatalf("user %d went from %s to %s", i, before[i], after)
			}
		}
	})
}

func TestGuardUnderLoad(t *testing.T) {
	t.Parallel()
	g := NewGuard(GuardConfig{OnEvent: func(GuardEvent) {}})
	o := Objective{MaxErrors: 0.01, Window: 100 * time.Millisecond, Hold: time.Millisecond, MinVolume: 1}
	e, _, err := New(split(50, 50), Options{Guard: g, Policy: Policy{Guard: o}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				p := e.Route(&Request{}).Plan
				p.Done(p.Branch == 1 && i%2 == 0, time.Duration(i)*time.Microsecond)
				if w == 0 && i%500 == 0 {
					if _, _, err := New(split(50, 50), Options{Guard: g, Policy: Policy{Guard: o}}); err != nil {
						t.Error(err)
					}
					g.Status()
				}
			}
		})
	}
	wg.Wait()
}

func TestLatencyBuckets(t *testing.T) {
	t.Parallel()
	last := -1
	for d := time.Duration(0); d < 2*time.Hour; d = d*11/10 + time.Microsecond {
		b := bucket(d)
		if b < last || b >= buckets {
			t.Fatalf("%v is in bucket %d after %d", d, b, last)
		}
		last = b
		if low, high := edge(b), edge(b+1); b < buckets-1 && (d.Truncate(time.Microsecond) < low || d >= high) {
			t.Fatalf("%v is in bucket %d, from %v to %v", d, b, low, high)
		}
	}
	if bucket(-time.Second) != 0 {
		t.Error("a negative latency")
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	w := &window{slot: time.Second}
	for i := range 1000 {
		w.record(time.Duration(i)*time.Millisecond*5, false, time.Duration(i+1)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 500, 0.9: 900, 0.99: 990} {
		if got := w.quantile(5*time.Second, q); math.Abs(float64(got)/1e6-want) > want/8 {
			t.Errorf("quantile %v is %v, want about %v ms", q, got, want)
		}
	}
	if c := w.sum(5 * time.Second); c.calls != 1000 || c.failed != 0 {
		t.Errorf("got %+v", c)
	}
	if c := w.sum(12 * time.Second); c.calls == 0 || c.calls >= 1000 {
		t.Errorf("after the window's beginning: %+v", c)
	}
	if c := w.sum(time.Minute); c.calls != 0 {
		t.Errorf("long after: %+v", c)
	}
	w.clear(5 * time.Second)
	if c := w.sum(5 * time.Second); c.calls != 0 {
		t.Errorf("after clear: %+v", c)
	}
}

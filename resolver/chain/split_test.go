package chain

import (
	"fmt"
	"math"
	"testing"
)

// ends counts the branches of n requests whose draws are spread evenly.
func ends(e *Evaluator, n int, r func(i int) *Request) map[string]int {
	got := map[string]int{}
	for i := range n {
		got[e.Route(r(i)).Target.ServiceSubset]++
	}
	return got
}

func evenly(n int) func(int) *Request {
	return func(i int) *Request { return &Request{Draw: float64(i) / float64(n), HasDraw: true} }
}

func keys(i int) *Request { return &Request{Key: fmt.Sprint("user-", i)} }

func TestSplitShares(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		weights []float32
		want    map[string]int // of 10,000 even draws
	}{
		{"90/10", []float32{90, 10}, map[string]int{"v1": 9000, "v2": 1000}},
		{"0.01 %", []float32{99.99, 0.01}, map[string]int{"v1": 9999, "v2": 1}},
		{"weight 0 is never hit", []float32{0, 100, 0}, map[string]int{"v2": 10000}},
		{"weight 0 first", []float32{0, 50, 50}, map[string]int{"v2": 5000, "v3": 5000}},
		{"float32 steps", []float32{33.33, 33.33, 33.34}, map[string]int{"v1": 3333, "v2": 3333, "v3": 3334}},
		{"less than 100 by rounding: shares of the sum", []float32{49.99, 49.99}, map[string]int{"v1": 5000, "v2": 5000}},
		{"0.29 is not cut to 0.28", []float32{99.71, 0.29}, map[string]int{"v1": 9971, "v2": 29}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := evaluator(t, split(tc.weights...), Options{})
			if got := ends(e, 10000, evenly(10000)); fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestSplitEdges(t *testing.T) {
	t.Parallel()
	e := evaluator(t, split(50, 50, 0), Options{})
	for draw, want := range map[float64]string{0: "v1", 0.4999: "v1", 0.5: "v2", 0.9999: "v2", 1: "v2", 7: "v2", -1: "v1", math.Inf(1): "v2"} {
		if d := e.Route(&Request{Draw: draw, HasDraw: true}); d.Target.ServiceSubset != want {
			t.Errorf("draw %v: %s, want %s", draw, d.Target.ServiceSubset, want)
		}
	}
	if d := e.Route(&Request{Draw: math.NaN(), HasDraw: true}); d.Target.ServiceSubset != "v1" {
		t.Errorf("draw NaN: %s", d.Target.ServiceSubset)
	}
}

func TestSplitDraws(t *testing.T) {
	t.Parallel()
	draws := []float64{0, 0.899, 0.9, 0.999}
	e := evaluator(t, split(90, 10), Options{Rand: func() float64 { d := draws[0]; draws = draws[1:]; return d }})
	for _, want := range []string{"v1", "v1", "v2", "v2"} {
		if got := e.Route(&Request{}).Target.ServiceSubset; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	free := evaluator(t, split(90, 10), Options{})
	if got := ends(free, 20000, func(int) *Request { return &Request{} }); got["v2"] < 1500 || got["v2"] > 2500 {
		t.Errorf("of 20000 calls %v", got)
	}
}

// 5 % of the users, the same at each call, and those stay while the share grows.
func TestStickyUsersStay(t *testing.T) {
	t.Parallel()
	const users = 40000
	at := func(weights ...float32) []string {
		e := evaluator(t, split(weights...), Options{})
		out := make([]string, users)
		for i := range users {
			out[i] = e.Route(keys(i)).Target.ServiceSubset
		}
		return out
	}
	share := func(of []string, subset string) float64 {
		n := 0
		for _, s := range of {
			if s == subset {
				n++
			}
		}
		return float64(n) * 100 / users
	}
	five, again, half := at(95, 5), at(95, 5), at(50, 50)
	if s := share(five, "v2"); math.Abs(s-5) > 0.5 {
		t.Errorf("%.2f %% of users, want 5", s)
	}
	if s := share(half, "v2"); math.Abs(s-50) > 1 {
		t.Errorf("%.2f %% of users, want 50", s)
	}
	for i := range users {
		if five[i] != again[i] {
			t.Fatalf("user %d moved without a change", i)
		}
		if five[i] == "v2" && half[i] != "v2" {
			t.Fatalf("user %d left the canary when it grew", i)
		}
	}
	before, after := at(60, 30, 10), at(60, 20, 20)
	for i := range users {
		if before[i] != after[i] && (after[i] == "v2" || before[i] == "v3") {
			t.Fatalf("user %d moved from %s to %s, but v2 shrank and v3 grew", i, before[i], after[i])
		}
	}
	if s := share(at(0, 100), "v1"); s != 0 {
		t.Errorf("%.2f %% of users at weight 0", s)
	}
}

func TestStickySources(t *testing.T) {
	t.Parallel()
	with := func(h string, values ...string) Recorded {
		return Recorded{Header: map[string][]string{h: values}}
	}
	for _, tc := range []struct {
		name   string
		sticky []string
		req    Recorded
		key    bool
	}{
		{"header", []string{"header:X-User"}, with("x-user", "7"), true},
		{"metadata", []string{"metadata:x-user"}, with("X-User", "7"), true},
		{"cookie", []string{"cookie:sid"}, with("Cookie", "a=b; sid=7"), true},
		{"query", []string{"query:user"}, Recorded{Query: "user=7"}, true},
		{"second source", []string{"header:x-user", "cookie:sid"}, with("cookie", "sid=7"), true},
		{"caller's key", nil, Recorded{Key: "7"}, true},
		{"none there", []string{"header:x-user", "cookie:sid", "query:user"}, with("cookie", "side=7"), false},
		{"no source", nil, with("x-user", "7"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			drawn := false
			e := evaluator(t, split(50, 50), Options{Policy: Policy{Sticky: tc.sticky}, Rand: func() float64 { drawn = true; return 0 }})
			r := tc.req.Request()
			first := e.Route(r).Plan
			if drawn == tc.key {
				t.Errorf("drawn: %v", drawn)
			}
			for range 20 {
				if e.Route(r).Plan != first {
					t.Error("it moves")
				}
			}
		})
	}
}

func TestActiveSubset(t *testing.T) {
	t.Parallel()
	sw := &Switch{}
	e := evaluator(t, split(100, 0), Options{Active: sw, Policy: Policy{Active: "v1"}})
	for _, step := range []struct{ set, want string }{{"", "v1"}, {"v2", "v2"}, {"v9", "v1"}, {"v1", "v1"}, {"", "v1"}} {
		sw.Set(step.set)
		for _, r := range []*Request{{}, {Key: "k"}, {Draw: 0.99, HasDraw: true}} {
			if got := e.Route(r).Target.ServiceSubset; got != step.want {
				t.Errorf("active %q: %s, want %s", step.set, got, step.want)
			}
		}
	}
	meta := split(100, 0)
	meta.ServiceMeta = map[string]string{KeyActive: "v2"}
	if got := evaluator(t, meta, Options{}).Route(&Request{}).Target.ServiceSubset; got != "v2" {
		t.Errorf("by meta: %s, want v2", got)
	}
}

func TestMirrorIsDrawn(t *testing.T) {
	t.Parallel()
	draws := 0.0
	e := evaluator(t, split(100), Options{Policy: Policy{Mirror: Mirror{"shadow", 25}}, Rand: func() float64 { return draws }})
	for d, want := range map[float64]bool{0: true, 0.2499: true, 0.25: false, 0.9: false} {
		draws = d
		if got := e.Route(&Request{Key: "k"}).Mirror; got != want {
			t.Errorf("at %v: %v, want %v", d, got, want)
		}
	}
}

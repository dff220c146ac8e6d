package resilience

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pool is an Outlier's endpoints without a balancer.
type pool struct {
	*Outlier
	mu     sync.Mutex
	until  map[string]time.Time
	weak   map[string]time.Time
	hosts  map[string]*OutlierHost
	events []string
}

type poolEjector struct {
	p   *pool
	key string
}

func (e poolEjector) Eject(until time.Time) {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.p.until[e.key] = until
}

func (e poolEjector) Degrade(until time.Time) {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.p.weak[e.key] = until
}

// newPool has one endpoint per name; the zone is the name's first letter.
func newPool(t *testing.T, cfg OutlierConfig, names ...string) *pool {
	t.Helper()
	p := &pool{until: map[string]time.Time{}, weak: map[string]time.Time{}, hosts: map[string]*OutlierHost{}}
	cfg.Rand = half
	cfg.OnEvent = func(e OutlierEvent) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Endpoint, "/", e.Zone)))
	}
	o, err := NewOutlier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	p.Outlier = o
	for _, n := range names {
		p.hosts[n] = o.Host(n, n[:1], poolEjector{p, n})
	}
	return p
}

func (p *pool) observe(name string, n int, o Outcome) {
	for range n {
		p.hosts[name].Observe(o)
	}
}

func (p *pool) untilOf(name string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until[name]
}

// ejected is who is out, sorted.
func (p *pool) ejected() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for k, until := range p.until {
		if until.After(time.Now()) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestOutlierConsecutive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2") // a pool of two
		p.observe("a1", 4, failed)
		p.observe("a1", 1, succeeded)
		p.observe("a1", 4, failed)
		if p.ejected() != "" {
			t.Fatal("ejected after 4 in a row")
		}
		p.observe("a1", 1, failed)
		if p.ejected() != "a1" {
			t.Fatal("not ejected after 5 in a row")
		}
		p.observe("a2", 40, failed)
		if p.ejected() != "a1" {
			t.Error("ejected both of two")
		}
		var spans []time.Duration
		for range 8 {
			from := time.Now()
			for p.ejected() == "a1" {
				time.Sleep(100 * time.Millisecond)
			}
			spans = append(spans, time.Since(from).Round(time.Second))
			time.Sleep(2 * time.Second)
			p.observe("a2", 1, succeeded)
			p.observe("a1", 5, failed)
		}
		if s := fmt.Sprint(spans); s != "[5s 10s 20s 40s 1m20s 2m40s 5m0s 5m0s]" {
			t.Error(s)
		}
		time.Sleep(11 * time.Minute) // out for 5, well for 6: one is forgotten
		p.observe("a1", 5, failed)
		if d := time.Until(p.untilOf("a1")); d.Round(time.Second) != 300*time.Second {
			t.Errorf("ejected for %v", d)
		}
	})
}

// What says nothing about the endpoint never ejects it.
func TestCancelsDoNotEject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2", "a3", "a4", "a5")
		for range 100 {
			p.observe("a1", 10, Outcome{}) // a cancel, the caller's deadline, a stream that the caller reset
			p.observe("a1", 10, Outcome{Class: Throttled})
			time.Sleep(100 * time.Millisecond)
		}
		if p.ejected() != "" || p.armed.Load() {
			t.Error("ejected, or a sweep runs for nothing")
		}
	})
}

func TestOutlierRates(t *testing.T) {
	t.Parallel()
	names := []string{"a1", "a2", "a3", "a4", "a5", "a6"}
	tests := []struct {
		name   string
		cfg    OutlierConfig
		failed map[string]int // of 100
		want   string
	}{
		{"one below the others", OutlierConfig{}, map[string]int{"a1": 20, "a2": 1}, "a1"},
		{"a little below", OutlierConfig{}, map[string]int{"a1": 4}, ""},
		{"all alike", OutlierConfig{}, map[string]int{"a1": 30, "a2": 30, "a3": 30, "a4": 30, "a5": 30, "a6": 30}, ""},
		{"scattered", OutlierConfig{}, map[string]int{"a1": 40, "a2": 30, "a3": 20, "a4": 10, "a5": 25, "a6": 15}, ""},
		{"two of six, which a mean would hide", OutlierConfig{}, map[string]int{"a1": 50, "a2": 50}, "a1 a2"},
		{"too few calls", OutlierConfig{MinCalls: 101}, map[string]int{"a1": 50}, ""},
		{"too few hosts", OutlierConfig{MinHosts: 7}, map[string]int{"a1": 50}, ""},
		{"turned off", OutlierConfig{StdevFactor: -1}, map[string]int{"a1": 50}, ""},
		{"by percentage", OutlierConfig{StdevFactor: -1}, map[string]int{"a1": 85, "a2": 84}, "a1"},
		{"percentage turned off", OutlierConfig{StdevFactor: -1, FailurePercent: -1}, map[string]int{"a1": 99}, ""},
		{"at most half", OutlierConfig{}, map[string]int{"a1": 90, "a2": 90, "a3": 90, "a4": 90, "a5": 99, "a6": 90}, "a1 a2 a5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := tt.cfg
				cfg.Consecutive = -1
				p := newPool(t, cfg, names...)
				for _, n := range names {
					p.observe(n, tt.failed[n], failed)
					p.observe(n, 100-tt.failed[n], succeeded)
				}
				time.Sleep(2*time.Second + 1)
				if got := p.ejected(); got != tt.want {
					t.Errorf("ejected %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestOutlierZones(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
		for _, n := range []string{"a1", "a2", "a3", "a4"} {
			p.observe(n, 5, failed)
		}
		p.mu.Lock()
		weak := len(p.weak)
		p.mu.Unlock()
		if p.ejected() != "a1 a2" || weak != 4 {
			t.Errorf("ejected %q, weak %d", p.ejected(), weak)
		}
		p.observe("c1", 5, failed) // the only one of its zone
		p.observe("b1", 5, failed) // a fourth of seven
		if p.ejected() != "a1 a2 c1" {
			t.Errorf("ejected %q", p.ejected())
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.weak["a4"].IsZero() {
			t.Errorf("weak %v", p.weak)
		}
		want := "ejected a1/a ejected a2/a zone degraded a3/a ejected c1/c"
		if got := strings.Join(p.events[:4], " "); got != want {
			t.Error(got)
		}
		slices.Sort(p.events[4:])
		if got := strings.Join(p.events[4:], " "); got != "returned a1/a returned a2/a returned c1/c zone restored /a" {
			t.Error(got)
		}
	})
}

func TestOutlierComesToRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2")
		p.observe("a1", 5, failed)
		p.observe("a2", 4, failed)
		if time.Sleep(time.Minute); p.armed.Load() || p.ejected() != "" {
			t.Error("sweeps on")
		}
	})
}

func TestOutlierHostsComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2", "a3")
		again := p.Host("a1", "a", poolEjector{p, "a1"})
		p.observe("a1", 5, failed)
		p.hosts["a1"].Leave()
		again.Leave()
		p.mu.Lock()
		delete(p.until, "a1")
		p.mu.Unlock()
		p.hosts["a1"] = p.Host("a1", "a", poolEjector{p, "a1"})
		time.Sleep(2*time.Second + 1)
		if p.ejected() != "a1" {
			t.Error("leaving and coming back ended an ejection")
		}
		p.hosts["a1"].Leave()
		p.observe("a2", 5, failed) // of the two that are left
		time.Sleep(time.Minute)
		if p.Outlier.mu.Lock(); len(p.Outlier.hosts) != 2 {
			t.Errorf("%d hosts are kept", len(p.Outlier.hosts))
		}
		p.Outlier.mu.Unlock()
		p.observe("a3", 5, failed)
		p.Close()
		p.Close()
		if p.ejected() != "" {
			t.Error("ejected after Close")
		}
		p.observe("a2", 50, failed)
		if p.ejected() != "" {
			t.Error("acts after Close")
		}
	})
}

func TestOutlierAllocatesNothing(t *testing.T) {
	p := newPool(t, OutlierConfig{}, "a1", "a2")
	h := p.hosts["a1"]
	if n := testing.AllocsPerRun(1000, func() { h.Observe(succeeded); h.Observe(Outcome{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOutlierConcurrently(t *testing.T) {
	t.Parallel()
	p := newPool(t, OutlierConfig{Interval: 10 * time.Millisecond, BaseEjection: time.Millisecond, MaxEjection: 2 * time.Millisecond}, "a1", "a2", "b1", "b2")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			name := []string{"a1", "a2", "b1", "b2"}[w%4]
			for i := range 5000 {
				if i%20 < 8 {
					p.observe(name, 1, failed)
				} else {
					p.observe(name, 1, succeeded)
				}
			}
		})
	}
	wg.Wait()
}

func TestOutlierConfigIsChecked(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]OutlierConfig{
		"Interval":       {Interval: -1},
		"Window":         {Window: -1},
		"StdevFactor":    {StdevFactor: math.NaN()},
		"MinHosts":       {MinHosts: 1},
		"MinCalls":       {MinCalls: -1},
		"FailurePercent": {FailurePercent: 101},
		"FailureCalls":   {FailureCalls: -1},
		"BaseEjection":   {BaseEjection: -1},
		"MaxEjection":    {MaxEjection: time.Second},
		"MaxShare":       {MaxShare: 1.5},
	} {
		if _, err := NewOutlier(cfg); err == nil || !strings.Contains(err.Error(), "OutlierConfig."+field+" is") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

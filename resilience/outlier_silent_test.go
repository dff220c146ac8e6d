package resilience

import (
	"testing"
	"testing/synctest"
	"time"
)

// step is one kind of thing that happens to an endpoint: who, what, how often and
// how long each takes, and how long successes take there.
type step struct {
	host  string
	what  string // "ok", "fail", "mute"
	times int
	took  time.Duration
	usual time.Duration
}

func (p *pool) play(steps []step) {
	for _, s := range steps {
		for range s.times {
			time.Sleep(s.took)
			switch s.what {
			case "ok":
				p.hosts[s.host].Observe(succeeded)
			case "fail":
				p.hosts[s.host].Observe(failed)
			case "mute":
				p.hosts[s.host].Silent(s.took, s.usual)
			}
		}
	}
}

func TestSilentEndpoints(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tc := range []struct {
		name  string
		hosts []string
		cfg   OutlierConfig
		steps []step
		want  string
	}{
		{"found", []string{"a1", "a2"}, OutlierConfig{}, []step{{"a1", "ok", 9, 5 * ms, 0}, {"a1", "mute", 5, time.Second, 5 * ms}}, "a1"},
		{"four are an accident", []string{"a1", "a2"}, OutlierConfig{}, []step{{"a1", "mute", 4, time.Second, 5 * ms}}, ""},
		{"an answer in between", []string{"a1", "a2"}, OutlierConfig{}, []step{
			{"a1", "mute", 4, time.Second, 5 * ms}, {"a1", "ok", 1, 5 * ms, 0}, {"a1", "mute", 1, time.Second, 5 * ms}}, ""},
		{"never answered at all", []string{"a1", "a2"}, OutlierConfig{}, []step{{"a1", "mute", 5, 250 * ms, 0}}, "a1"},
		{"with failures among them", []string{"a1", "a2"}, OutlierConfig{}, []step{
			{"a1", "mute", 2, time.Second, 5 * ms}, {"a1", "fail", 2, 300 * ms, 0}, {"a1", "mute", 1, time.Second, 5 * ms}}, "a1"},
		{"another number", []string{"a1", "a2"}, OutlierConfig{Consecutive: 2}, []step{{"a1", "mute", 2, time.Second, 5 * ms}}, "a1"},

		{"tiny deadlines", []string{"a1", "a2"}, OutlierConfig{}, []step{{"a1", "mute", 1000, 20 * ms, 5 * ms}}, ""},
		{"deadlines below what is usual", []string{"a1", "a2"}, OutlierConfig{}, []step{{"a1", "mute", 1000, 300 * ms, 200 * ms}}, ""},
		{"tiny deadlines at an unknown endpoint", []string{"a1", "a2"}, OutlierConfig{}, []step{{"a1", "mute", 1000, 200 * ms, 0}}, ""},
		{"switched off", []string{"a1", "a2"}, OutlierConfig{Consecutive: -1}, []step{{"a1", "mute", 1000, time.Second, 5 * ms}}, ""},
		{"the only endpoint", []string{"a1"}, OutlierConfig{}, []step{{"a1", "mute", 100, time.Second, 5 * ms}}, ""},
		{"both of two", []string{"a1", "a2"}, OutlierConfig{BaseEjection: time.Minute}, []step{
			{"a1", "mute", 5, time.Second, 5 * ms}, {"a2", "mute", 50, time.Second / 10, 5 * ms}}, "a1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, tc.cfg, tc.hosts...)
				time.Sleep(time.Second)
				p.play(tc.steps)
				if got := p.ejected(); got != tc.want {
					t.Errorf("ejected %q, want %q; events %v", got, tc.want, p.events)
				}
			})
		})
	}
}

// A call that takes longer than its caller waits, at an endpoint that answers
// others meanwhile, is no silence.
func TestSlowCallsBesideOthersAreNoSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2")
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			p.observe("a1", 1, succeeded)
			for range 10 { // each began before that answer
				time.Sleep(time.Millisecond)
				p.hosts["a1"].Silent(500*time.Millisecond, 5*time.Millisecond)
			}
		}
		if got := p.ejected(); got != "" {
			t.Errorf("ejected %s", got)
		}
	})
}

// Where rows of silence end with answers, callers wait too short for a slow
// method: no endpoint is at fault, however long the next row is.
func TestSlowMethodIsNoSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2")
		for range 20 {
			p.play([]step{{"a1", "mute", 3, 500 * time.Millisecond, 5 * time.Millisecond}, {"a1", "ok", 1, 5 * time.Millisecond, 0}})
			p.play([]step{{"a2", "mute", 3, 500 * time.Millisecond, 5 * time.Millisecond}, {"a2", "ok", 1, 5 * time.Millisecond, 0}})
		}
		p.play([]step{{"a1", "mute", 9, 500 * time.Millisecond, 5 * time.Millisecond}})
		if got := p.ejected(); got != "" {
			t.Errorf("ejected %s", got)
		}
		time.Sleep(10 * time.Second) // that is long ago now
		p.play([]step{{"a1", "mute", 5, 500 * time.Millisecond, 5 * time.Millisecond}})
		if got := p.ejected(); got != "a1" {
			t.Errorf("ejected %q, want a1", got)
		}
	})
}

// All of a place are silent: one half of it is ejected, for the other the place
// gives its calls away.
func TestSilentZoneDegrades(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, OutlierConfig{}, "a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4")
		time.Sleep(time.Second)
		for range 5 {
			time.Sleep(200 * time.Millisecond)
			for _, h := range []string{"a1", "a2", "a3", "a4"} {
				p.hosts[h].Silent(200*time.Millisecond, 5*time.Millisecond)
			}
		}
		if got := p.ejected(); got != "a1 a2" {
			t.Errorf("ejected %q, want two of the four", got)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.weak["a3"].After(time.Now()) {
			t.Error("the zone keeps its calls")
		}
	})
}

func TestSilentAllocatesNothing(t *testing.T) {
	p := newPool(t, OutlierConfig{}, "a1")
	h := p.hosts["a1"]
	if n := testing.AllocsPerRun(1000, func() {
		h.Silent(time.Millisecond, time.Millisecond)
		h.Observe(succeeded)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package resilience

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newTestLimit(t testing.TB, cfg ConcurrencyConfig) *ConcurrencyLimit {
	t.Helper()
	l, err := NewConcurrencyLimit(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFixedLimit(t *testing.T) {
	t.Parallel()
	l := newTestLimit(t, ConcurrencyConfig{Limit: 10})
	var open []func(Outcome)
	fill := func(p Priority, want int) {
		t.Helper()
		n := 0
		for {
			done, err := l.Enter(t.Context(), &Info{Priority: p})
			if err != nil {
				if !errors.Is(err, ErrConcurrency) || OutcomeOf(err) != (Outcome{Unsent: true}) {
					t.Error(err)
				}
				break
			}
			open = append(open, done)
			n++
		}
		if n != want {
			t.Errorf("%v found %d places, want %d", p, n, want)
		}
	}
	fill(Sheddable, 8)
	fill(SheddablePlus, 1)
	fill(Critical, 1)
	if _, err := l.Enter(t.Context(), &Info{Stream: true}); err == nil {
		t.Error("a stream found a place")
	}
	fill(CriticalPlus, 10)
	if l.InFlight() != 20 || l.Limit() != 10 || l.Refused() != [Priorities]uint64{1, 2, 1, 1} {
		t.Errorf("%d in flight, %v refused", l.InFlight(), l.Refused())
	}
	for _, done := range open {
		done(Outcome{})
	}
	done, err := l.Enter(t.Context(), &Info{Stream: true})
	if err != nil || l.InFlight() != 0 {
		t.Errorf("%v, %d in flight: a stream holds no place", err, l.InFlight())
	}
	done(Outcome{})
	fill(Sheddable, 8)
}

// server is a simulated one: so many calls are worked on at a time, the others
// wait in a queue without end.
type server struct {
	slots    chan struct{}
	good     [Priorities]atomic.Int64 // answered in time
	offered  [Priorities]atomic.Int64
	deadline time.Duration
}

// offer makes calls at a rate for a while, through g; nil is no gate.
func (s *server) offer(g Gate, rnd *rand.Rand, rate float64, span time.Duration, work func() time.Duration) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for end := time.Now().Add(span); time.Now().Before(end); {
		time.Sleep(time.Duration(rnd.ExpFloat64() / rate * float64(time.Second)))
		in := &Info{Priority: Priority(rnd.IntN(Priorities))}
		took := work()
		s.offered[in.Priority.Rank()].Add(1)
		done := nothing
		if g != nil {
			var err error
			if done, err = g.Enter(context.Background(), in); err != nil {
				continue
			}
		}
		begin := time.Now()
		calls.Go(func() {
			s.slots <- struct{}{}
			time.Sleep(took)
			<-s.slots
			done(succeeded)
			if time.Since(begin) <= s.deadline {
				s.good[in.Priority.Rank()].Add(1)
			}
		})
	}
}

// At three times its capacity a server does nearly all the work that it can,
// and the top class does not notice.
func TestOverload(t *testing.T) {
	t.Parallel()
	const workers, mean = 16, 10 * time.Millisecond
	capacity := workers / mean.Seconds()
	run := func(t *testing.T, g Gate, load float64) (goodput, top float64) {
		rnd := rand.New(rand.NewPCG(1, 2))
		work := func() time.Duration { return time.Duration(rnd.ExpFloat64() * float64(mean)) }
		s := &server{slots: make(chan struct{}, workers), deadline: 200 * time.Millisecond}
		s.offer(g, rnd, load*capacity, 5*time.Second, work) // it learns
		for i := range s.good {
			s.good[i].Store(0)
			s.offered[i].Store(0)
		}
		const span = 10 * time.Second
		s.offer(g, rnd, load*capacity, span, work)
		sum := int64(0)
		for i := range s.good {
			sum += s.good[i].Load()
		}
		return float64(sum) / (capacity * span.Seconds()), float64(s.good[0].Load()) / float64(s.offered[0].Load())
	}
	for name, cfg := range map[string]ConcurrencyConfig{"vegas": {}, "gradient2": {Gradient2: true}, "fixed": {Limit: 24}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				peak := 0.0
				for _, load := range []float64{0.5, 1, 2, 3} {
					l := newTestLimit(t, cfg)
					good, top := run(t, l, load)
					peak = max(peak, good)
					t.Logf("load %v: goodput %.3f, top class %.4f, limit %d", load, good, top, l.Limit())
					if load >= 1 && good < 0.92*peak || top < 0.999 {
						t.Errorf("load %v: goodput %.3f of %.3f, top class %.4f", load, good, peak, top)
					}
				}
			})
		})
	}
	t.Run("without", func(t *testing.T) { // the simulation can fail
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			if good, _ := run(t, nil, 3); good > 0.1 {
				t.Errorf("goodput %.3f without a limit", good)
			}
		})
	})
}

// When the work itself becomes slower, the limit does not stay low.
func TestAdaptiveLimitFollowsTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(3, 4))
		l := newTestLimit(t, ConcurrencyConfig{})
		mean := 10 * time.Millisecond
		s := &server{slots: make(chan struct{}, 200), deadline: time.Second}
		work := func() time.Duration { return time.Duration((0.5 + rnd.Float64()) * float64(mean)) }
		s.offer(l, rnd, 2000, 10*time.Second, work)
		before := l.Limit()
		mean = 40 * time.Millisecond // as many workers can do 5000/s
		s.offer(l, rnd, 2000, 40*time.Second, work)
		if l.Limit() < 60 {
			t.Errorf("limit %d before, %d after; 80 are needed", before, l.Limit())
		}
	})
}

func TestLimitIsBounded(t *testing.T) {
	t.Parallel()
	for _, g := range []bool{false, true} {
		l := newTestLimit(t, ConcurrencyConfig{Gradient2: g, Min: 5, Max: 40})
		a := &l.adapt
		move := a.vegas
		if g {
			move = a.gradient2
		}
		for i := range 200 {
			w := measured{p90: 1e6, mean: 1e6, peak: 1000}
			if i > 100 {
				w.p90, w.mean = 1e9*a.limit, 1e9*a.limit // a queue
			}
			if i == 150 {
				w.dropped = true
			}
			v := move(w)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("step %d: %v", i, v)
			}
			a.limit = min(max(v, 5), 40)
			if i == 100 && a.limit != 40 || i == 120 && !g && a.limit > 30 {
				t.Errorf("gradient2 %v, step %d: %v", g, i, a.limit)
			}
		}
	}
}

func TestLimitNeverLeaks(t *testing.T) {
	t.Parallel()
	l := newTestLimit(t, ConcurrencyConfig{MinSamples: 1, Window: time.Millisecond})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				if done, err := l.Enter(context.Background(), &Info{Priority: Priority(i % 5)}); err == nil {
					done(Outcome{Class: Class(w % 5)})
				}
			}
		})
	}
	wg.Wait()
	if l.InFlight() != 0 || l.Limit() < 4 {
		t.Errorf("%d in flight, limit %d", l.InFlight(), l.Limit())
	}
}

func TestLimitAllocatesNothing(t *testing.T) {
	ctx, in := t.Context(), &Info{}
	for _, cfg := range []ConcurrencyConfig{{}, {Limit: 3}} {
		l := newTestLimit(t, cfg)
		if n := testing.AllocsPerRun(1000, func() {
			done, _ := l.Enter(ctx, in)
			done(succeeded)
		}); n != 0 && !raceEnabled {
			t.Errorf("%+v: %v allocations", cfg, n)
		}
		for range 3 {
			_, _ = newTestLimit(t, ConcurrencyConfig{Limit: 1}).Enter(ctx, in)
		}
	}
	full := newTestLimit(t, ConcurrencyConfig{Limit: 1})
	if _, err := full.Enter(ctx, in); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = full.Enter(ctx, in) }); n != 0 {
		t.Errorf("%v allocations in a refusal", n)
	}
}

func TestConcurrencyConfigIsChecked(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]ConcurrencyConfig{
		"Limit":      {Limit: -1},
		"Initial":    {Initial: 2000},
		"Min":        {Min: -1},
		"Max":        {Max: 3},
		"Window":     {Window: -1},
		"MinSamples": {MinSamples: -1},
		"Shares":     {Shares: [Priorities]float64{1, math.NaN(), 1, 1}},
	} {
		if _, err := NewConcurrencyLimit(cfg); err == nil || !strings.Contains(err.Error(), "ConcurrencyConfig."+field+" is") {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := NewConcurrencyLimit(ConcurrencyConfig{Shares: [Priorities]float64{1, 0.5, 0.9, 0.1}}); err == nil {
		t.Error("a lower class may have more")
	}
}

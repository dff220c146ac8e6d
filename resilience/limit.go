package resilience

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// ConcurrencyConfig says how many calls may be under way at a time. The zero
// value adapts the number to what the work can bear.
type ConcurrencyConfig struct {
	// Limit is the number, and stays. 0: it adapts.
	Limit int
	// Initial, Min and Max are where an adaptive limit starts and its bounds. 0: 20,
	// 4 and 1000.
	Initial, Min, Max int
	// Window is how often an adaptive limit moves, if there were MinSamples calls
	// by then; else it waits for them. 0: 1 s.
	Window time.Duration
	// MinSamples is how many calls a step needs. 0: 50.
	MinSamples int
	// Gradient2 moves the limit by the ratio of a long and a short average of the
	// latency (Netflix concurrency-limits, Gradient2), which follows slow changes of
	// the work by itself. False: by the queue that the 90th percentile shows
	// (Vegas), which is quicker and keeps shorter queues.
	Gradient2 bool
	// Shares are the parts of the limit that each class may fill, by Priority.Rank:
	// calls of a class are refused while that many calls of any class are under
	// way. Rank 0 may go beyond the limit, so that a burst of it finds a place.
	// All zero: 2, 1, 0.9 and 0.8.
	Shares [Priorities]float64
}

func (c ConcurrencyConfig) withDefaults() (ConcurrencyConfig, error) {
	var ck checks
	if c.Limit < 0 {
		ck.fail("ConcurrencyConfig.Limit", c.Limit, "use at least 1, or 0 for an adaptive limit")
	}
	ck.count("ConcurrencyConfig.Min", &c.Min, 1, 4)
	ck.count("ConcurrencyConfig.Max", &c.Max, c.Min, max(1000, c.Min))
	ck.count("ConcurrencyConfig.Initial", &c.Initial, c.Min, min(max(20, c.Min), c.Max))
	if c.Initial > c.Max {
		ck.fail("ConcurrencyConfig.Initial", c.Initial, "it is above Max")
	}
	ck.span("ConcurrencyConfig.Window", &c.Window, time.Millisecond, time.Second)
	ck.count("ConcurrencyConfig.MinSamples", &c.MinSamples, 1, 50)
	if c.Shares == ([Priorities]float64{}) {
		c.Shares = [Priorities]float64{2, 1, 0.9, 0.8}
	}
	for i, s := range c.Shares {
		if !(s > 0 && s <= 10) || i > 0 && s > c.Shares[i-1] {
			ck.fail("ConcurrencyConfig.Shares", c.Shares, "use more than 0 and at most 10 each, none above the one before")
		}
	}
	return c, ck.err
}

// ConcurrencyLimit is a Gate that bounds how many calls are under way, for a
// server or for a client. What is over the bound is refused at once, lowest class
// first; nothing queues here. Admission takes no lock and allocates nothing.
//
// A stream is refused like a call and holds no place: it may last for days.
//
// An adaptive limit needs latencies of the work alone, so it belongs in front of
// the handler, not around the network. It holds still while it is not half used.
type ConcurrencyLimit struct {
	cfg      ConcurrencyConfig
	inflight atomic.Int64
	bounds   [Priorities]atomic.Int64 // by rank
	limit    atomic.Int64
	refused  [Priorities]atomic.Uint64 // by rank
	busy     *Refused
	leave    func(Outcome) // of a fixed limit
	calls    sync.Pool     // *limitedCall, of an adaptive one
	adapt    adaptive
}

// NewConcurrencyLimit makes a limit. It refuses a senseless ConcurrencyConfig,
// naming the field.
func NewConcurrencyLimit(cfg ConcurrencyConfig) (*ConcurrencyLimit, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &ConcurrencyLimit{cfg: cfg, busy: &Refused{Reason: ErrConcurrency, Outcome: Outcome{Unsent: true}}}
	l.leave = func(Outcome) { l.inflight.Add(-1) }
	l.calls.New = func() any {
		c := &limitedCall{l: l}
		c.done = c.end
		return c
	}
	l.adapt.start = time.Now()
	l.adapt.next.Store(int64(cfg.Window)) // the first to end are the fastest: wait for the others
	l.adapt.limit = float64(cfg.Initial)
	if cfg.Limit > 0 {
		l.adapt.limit = float64(cfg.Limit)
	}
	l.set(l.adapt.limit)
	return l, nil
}

// Limit is how many calls of class Critical may be under way now.
func (l *ConcurrencyLimit) Limit() int { return int(l.limit.Load()) }

// InFlight is how many calls are under way.
func (l *ConcurrencyLimit) InFlight() int { return int(l.inflight.Load()) }

// Refused is how many calls of each class were refused, by Priority.Rank.
func (l *ConcurrencyLimit) Refused() (out [Priorities]uint64) {
	for i := range out {
		out[i] = l.refused[i].Load()
	}
	return out
}

func (l *ConcurrencyLimit) set(limit float64) {
	for i, s := range l.cfg.Shares {
		l.bounds[i].Store(max(1, int64(math.Ceil(s*limit-1e-9))))
	}
	l.limit.Store(int64(limit))
}

// Enter implements [Gate].
func (l *ConcurrencyLimit) Enter(_ context.Context, in *Info) (func(Outcome), error) {
	rank := in.Priority.Rank()
	bound := l.bounds[rank].Load()
	for {
		n := l.inflight.Load()
		if n >= bound {
			l.refused[rank].Add(1)
			return nil, l.busy
		}
		if in.Stream {
			return nothing, nil
		}
		if !l.inflight.CompareAndSwap(n, n+1) {
			continue
		}
		if l.cfg.Limit > 0 {
			return l.leave, nil
		}
		l.adapt.saw(n + 1)
		c := l.calls.Get().(*limitedCall)
		c.start, c.ended = time.Now(), false
		return c.done, nil
	}
}

// limitedCall is a call of an adaptive limit. It is reused: its end is the last
// that anyone has of it.
type limitedCall struct {
	l     *ConcurrencyLimit
	start time.Time
	ended bool
	done  func(Outcome)
}

func (c *limitedCall) end(o Outcome) {
	if c.ended {
		return
	}
	l, now := c.l, time.Now()
	took, at := now.Sub(c.start), now.Sub(l.adapt.start)
	c.ended = true
	l.calls.Put(c)
	l.inflight.Add(-1)
	// A call that was given up early says nothing; one that took long before it was
	// given up took at least that long.
	if o.Class != Neutral || took >= time.Duration(l.adapt.floor.Load()) {
		l.adapt.sample(took, o.Class == Throttled)
	}
	if at >= time.Duration(l.adapt.next.Load()) && l.adapt.ready(l.cfg.MinSamples) {
		l.step(at)
	}
}

// step moves the limit, once per window.
func (l *ConcurrencyLimit) step(at time.Duration) {
	a := &l.adapt
	if !a.stepping.CompareAndSwap(false, true) {
		return
	}
	defer a.stepping.Store(false)
	if at < time.Duration(a.next.Load()) || !a.ready(l.cfg.MinSamples) {
		return
	}
	a.next.Store(int64(at + l.cfg.Window))
	w := a.take()
	move := a.vegas
	if l.cfg.Gradient2 {
		move = a.gradient2
	}
	a.limit = min(max(move(w), float64(l.cfg.Min)), float64(l.cfg.Max))
	l.set(a.limit)
}

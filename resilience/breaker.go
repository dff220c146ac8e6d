package resilience

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker is a Gate that stops calling one service in one cloud when too many of
// its calls fail or are slow, and lets a few probe it after a while. Outlier is
// its neighbour for single endpoints.
//
// Calls are counted here, in a rolling window without a lock; gobreaker is asked
// only when a window's ratio is over the bound and while probes are under way.
// What a call that began before the Breaker opened says comes too late to
// count afterwards. A refusal is a [Refused] of ErrOpen and counts nowhere.
//
// Half-open always resolves: a probe that says nothing (Neutral, Throttled), or
// has not ended after ProbeTimeout, gives its place back.
type Breaker struct {
	cfg            BreakerConfig
	service, cloud string
	phase          atomic.Pointer[phase] // all that a call reads
	timed          sync.Pool             // *timedCall

	mu      sync.Mutex
	gb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	probes  []*probe
	opened  int           // times in a row
	lastFor time.Duration // how long it was open the last time
	changes []BreakerChange
}

// phase is the time between two changes of state.
type phase struct {
	b     *Breaker
	state BreakerState
	since time.Time
	until time.Time     // open: when the first probe may go
	calls *window       // all, failed
	slow  *window       // unused, slow
	done  func(Outcome) // of an untimed call; bound once, so that a call allocates nothing
}

var (
	errProbeFailed  = errors.New("failed")
	errProbeNeutral = errors.New("neutral")
)

// NewBreaker makes a closed Breaker. service and cloud go into refusals and
// changes. It refuses a senseless BreakerConfig, naming the field.
func NewBreaker(service, cloud string, cfg BreakerConfig) (*Breaker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return newBreaker(service, cloud, cfg), nil
}

func newBreaker(service, cloud string, cfg BreakerConfig) *Breaker {
	b := &Breaker{cfg: cfg, service: service, cloud: cloud}
	b.timed.New = func() any {
		c := &timedCall{b: b}
		c.done = c.end
		return c
	}
	b.gb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   uint32(cfg.Probes),
		Timeout:       1,                                                      // how long to stay open is decided here: gobreaker knows neither jitter nor growth
		ReadyToTrip:   func(gobreaker.Counts) bool { return true },            // it hears of a failure only when the window says so
		IsExcluded:    func(err error) bool { return err == errProbeNeutral }, //nolint:errorlint // our own value
		OnStateChange: func(_ string, _, to gobreaker.State) { b.turn(to) },
	})
	b.phase.Store(b.newPhase(BreakerClosed))
	return b
}

func (b *Breaker) newPhase(s BreakerState) *phase {
	p := &phase{b: b, state: s, since: time.Now()}
	if s == BreakerClosed {
		p.calls, p.slow = newWindow(b.cfg.Window, 10), newWindow(b.cfg.Window, 10)
		p.done = func(o Outcome) { p.count(o, false) }
	}
	return p
}

// State is what the Breaker does now. An open one whose time is over is half-open.
func (b *Breaker) State() BreakerState {
	p := b.phase.Load()
	if p.state == BreakerOpen && !p.until.After(time.Now()) {
		return BreakerHalfOpen
	}
	return p.state
}

// Enter implements [Gate]. A closed Breaker takes no lock and allocates nothing.
func (b *Breaker) Enter(_ context.Context, in *Info) (func(Outcome), error) {
	p := b.phase.Load()
	switch {
	case p.state != BreakerClosed:
		return b.enterProbe(p, in)
	case b.cfg.SlowCall == 0 || in.Stream:
		return p.done, nil
	}
	c := b.timed.Get().(*timedCall)
	c.phase, c.start = p, time.Now()
	return c.done, nil
}

// count notes the end of a call that began in the phase.
func (p *phase) count(o Outcome, slow bool) {
	if o.Class == Neutral || o.Class == Throttled {
		return
	}
	now := p.calls.now()
	failed := uint64(0)
	if o.Failed() {
		failed = 1
	}
	p.calls.add(now, 1, failed)
	if slow {
		p.slow.add(now, 0, 1)
	}
	if (slow || failed == 1) && p.bad(now) {
		p.b.trip(p)
	}
}

func (p *phase) bad(now time.Duration) bool {
	cfg := &p.b.cfg
	n, failed := p.calls.sum(now)
	if n < uint64(cfg.MinCalls) {
		return false
	}
	_, slow := p.slow.sum(now)
	return float64(failed) >= cfg.FailureRatio*float64(n) || float64(slow) >= cfg.SlowRatio*float64(n)
}

// trip opens the Breaker, unless the phase is over.
func (b *Breaker) trip(p *phase) {
	b.mu.Lock()
	if b.phase.Load() == p {
		if done, err := b.gb.Allow(); err == nil {
			done(errProbeFailed)
		}
	}
	b.unlock()
}

// turn follows gobreaker, which calls it under its lock, which is taken under b.mu.
func (b *Breaker) turn(to gobreaker.State) {
	old := b.phase.Load()
	var p *phase
	ch := BreakerChange{Service: b.service, Cloud: b.cloud, From: old.state, At: time.Now()}
	switch to {
	case gobreaker.StateOpen:
		if old.state == BreakerClosed && ch.At.Sub(old.since) > b.lastFor {
			b.opened = 0
		}
		b.opened++
		b.lastFor = grown(b.cfg.OpenFor, b.cfg.MaxOpenFor, b.opened, b.cfg.Rand())
		p = b.newPhase(BreakerOpen)
		p.until = ch.At.Add(b.lastFor)
		ch.Until = p.until
	case gobreaker.StateHalfOpen:
		p = b.newPhase(BreakerHalfOpen)
	default:
		p = b.newPhase(BreakerClosed)
	}
	b.probes = nil
	ch.To = p.state
	b.phase.Store(p)
	b.changes = append(b.changes, ch)
}

// unlock unlocks and then tells of the changes.
func (b *Breaker) unlock() {
	changes := b.changes
	b.changes = nil
	b.mu.Unlock()
	if b.cfg.OnChange != nil {
		for _, ch := range changes {
			b.cfg.OnChange(ch)
		}
	}
}

// timedCall is a call whose duration counts. It is reused: its end is the last
// that anyone has of it.
type timedCall struct {
	b     *Breaker
	phase *phase
	start time.Time
	done  func(Outcome)
}

func (c *timedCall) end(o Outcome) {
	p := c.phase
	if p == nil {
		return
	}
	slow := time.Since(c.start) >= c.b.cfg.SlowCall
	c.phase = nil
	c.b.timed.Put(c)
	p.count(o, slow)
}

// probe is a call through a half-open Breaker.
type probe struct {
	b      *Breaker
	start  time.Time
	stream bool
	report func(error) // gobreaker's
	over   bool
}

// enterProbe lets a few calls through once the open time is over.
func (b *Breaker) enterProbe(p *phase, in *Info) (func(Outcome), error) {
	now := time.Now()
	if wait := p.until.Sub(now); p.state == BreakerOpen && wait > 0 {
		return nil, refuse(ErrOpen, in, wait)
	}
	b.mu.Lock()
	defer b.unlock()
	for _, old := range slices.Clone(b.probes) {
		if now.Sub(old.start) < b.cfg.ProbeTimeout {
			continue
		}
		if old.stream {
			old.finish(nil)
		} else {
			old.finish(errProbeNeutral)
		}
	}
	switch p := b.phase.Load(); {
	case p.state == BreakerClosed: // a moment ago
		return p.done, nil
	case p.state == BreakerOpen && p.until.After(now):
		return nil, refuse(ErrOpen, in, p.until.Sub(now))
	}
	report, err := b.gb.Allow()
	if err != nil {
		return nil, refuse(ErrOpen, in, 0)
	}
	pr := &probe{b: b, start: now, stream: in.Stream, report: report}
	b.probes = append(b.probes, pr)
	return pr.end, nil
}

func (pr *probe) end(o Outcome) {
	b := pr.b
	var said error
	switch {
	case o.Class == Neutral || o.Class == Throttled:
		said = errProbeNeutral
	case o.Failed(), b.cfg.SlowCall > 0 && !pr.stream && time.Since(pr.start) >= b.cfg.SlowCall:
		said = errProbeFailed
	}
	b.mu.Lock()
	pr.finish(said)
	b.unlock()
}

// finish is called with b.mu held.
func (pr *probe) finish(said error) {
	if pr.over {
		return
	}
	pr.over = true
	pr.b.probes = slices.DeleteFunc(pr.b.probes, func(x *probe) bool { return x == pr })
	pr.report(said)
}

package chain

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Guard takes branches of splitters out that breach the objective of their chain's
// policy, in this process alone, and lets them back slowly. It outlives evaluators,
// so that a changed weight does not bring a bad branch back; one Guard may serve all
// services. It runs on the calls: [Plan.Done] feeds it.
type Guard struct {
	onEvent func(GuardEvent)
	start   time.Time
	next    atomic.Int64 // when the branches are judged next
	every   atomic.Int64

	mu   sync.Mutex
	arms map[armPlace]map[string]*arm // by target
}

// armPlace is a splitter in the chain of a service.
type armPlace struct{ service, splitter string }

// NewGuard makes a Guard. It starts nothing and needs no closing.
func NewGuard(cfg GuardConfig) *Guard {
	g := &Guard{onEvent: cfg.OnEvent, start: time.Now(), arms: map[armPlace]map[string]*arm{}}
	g.every.Store(int64(10 * time.Millisecond))
	return g
}

// arm is a branch under guard.
type arm struct {
	g      *Guard
	place  armPlace
	target string
	share  atomic.Uint32 // of shareScale
	seen   window

	// What follows is changed with g.mu held.
	objective Objective
	baseline  *arm // nil: it is one itself
	state     armState
	since     time.Duration // of the state
	until     time.Duration // of being out
	fails     int           // returns that failed
}

type armState uint8

const (
	armIn armState = iota
	armOut
	armReturning
)

// Status is how the branches under guard stand, sorted by service, splitter and target.
func (g *Guard) Status() []GuardStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []GuardStatus
	for at, arms := range g.arms {
		for id, a := range arms {
			list = append(list, GuardStatus{at.service, at.splitter, id, float64(a.share.Load()) / shareScale, a.baseline == nil})
		}
	}
	slices.SortFunc(list, func(a, b GuardStatus) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Splitter, b.Splitter), cmp.Compare(a.Target, b.Target))
	})
	return list
}

// observe counts an attempt, and looks at all branches if it is time.
func (a *arm) observe(failed bool, took time.Duration) {
	now := time.Since(a.g.start)
	a.seen.record(now, failed, took)
	at := a.g.next.Load()
	if int64(now) >= at && a.g.next.CompareAndSwap(at, int64(now)+a.g.every.Load()) {
		a.g.judge(now)
	}
}

// judge moves the branches on. It is not run by two calls at a time.
func (g *Guard) judge(now time.Duration) {
	if !g.mu.TryLock() {
		return
	}
	var events []GuardEvent
	for _, arms := range g.arms {
		for _, a := range arms {
			if a.baseline == nil {
				continue
			}
			if ev, ok := a.step(now); ok {
				events = append(events, ev)
			}
		}
	}
	g.mu.Unlock()
	if g.onEvent == nil {
		return
	}
	for _, ev := range events {
		g.onEvent(ev)
	}
}

// breach says what the branch breaches, or nothing.
func (a *arm) breach(now time.Duration) string {
	o := &a.objective
	mine, base := a.seen.sum(now), a.baseline.seen.sum(now)
	if mine.calls < uint64(o.MinVolume) || base.calls < uint64(o.MinVolume) {
		return ""
	}
	if o.MaxErrors > 0 && mine.failed >= minFailed {
		if m, b := mine.errors(), base.errors(); m-b > o.MaxErrors {
			return fmt.Sprintf("%.2f %% of %d calls failed, %.2f %% of the baseline's", m*100, mine.calls, b*100)
		}
	}
	if q := mine.best(); o.MaxLatency > 0 && q > 0 {
		m, b := a.seen.quantile(now, q), a.baseline.seen.quantile(now, q)
		if b > 0 && float64(m) > o.MaxLatency*float64(b) {
			return fmt.Sprintf("p%.0f of %v, %v of the baseline", q*100, m.Round(10*time.Microsecond), b.Round(10*time.Microsecond))
		}
	}
	return ""
}

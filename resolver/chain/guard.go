package chain

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// GuardConfig says whom a Guard tells.
type GuardConfig struct {
	// OnEvent is told what happens, without a lock held, on the goroutine of a call;
	// it must not block. nil: nobody.
	OnEvent func(GuardEvent)
}

// GuardKind is what a GuardEvent tells.
type GuardKind uint8

const (
	// TakenOut: the branch gets no calls until Until.
	TakenOut GuardKind = iota
	// Returning: the branch gets a tenth of its share, and more over the hold time.
	Returning
	// Restored: the branch has its whole share again.
	Restored
)

// String is "taken out", "returning" or "restored".
func (k GuardKind) String() string {
	switch k {
	case TakenOut:
		return "taken out"
	case Returning:
		return "returning"
	}
	return "restored"
}

// GuardEvent is a change of a branch.
type GuardEvent struct {
	// Kind is what happened.
	Kind GuardKind
	// Splitter is the name of the splitter's node, Target the ID of the branch's target.
	Splitter string
	Target   string
	// Reason says what was breached, with the numbers; of TakenOut only.
	Reason string
	// Until is when a branch that was taken out begins to return.
	Until time.Time
}

// GuardStatus is how a branch stands.
type GuardStatus struct {
	// Splitter and Target are those of GuardEvent.
	Splitter, Target string
	// Share is how much of its weight the branch gets, from 0 to 1.
	Share float64
	// Baseline means that it is what the others of the splitter are compared with.
	Baseline bool
}

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
	arms map[string]map[string]*arm // by splitter and target
}

// NewGuard makes a Guard. It starts nothing and needs no closing.
func NewGuard(cfg GuardConfig) *Guard {
	g := &Guard{onEvent: cfg.OnEvent, start: time.Now(), arms: map[string]map[string]*arm{}}
	g.every.Store(int64(10 * time.Millisecond))
	return g
}

// arm is a branch under guard.
type arm struct {
	g                *Guard
	splitter, target string
	share            atomic.Uint32 // of shareScale
	seen             window

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

// guard puts the branches of a splitter under guard.
func (b *evalCompiler) guard(s *splitter) {
	o := b.e.policy.Guard
	if b.opt.Guard == nil {
		if o.On() {
			b.p.add(kindDefaults, b.c.ServiceName, "Meta["+KeyGuardErrors+"]", "the caller has no guard; nothing is watched")
		}
		return
	}
	base := 0
	if o.On() && o.Baseline != "" {
		if base = s.branch(o.Baseline); base < 0 {
			base = 0
			b.p.add(kindDefaults, b.c.ServiceName, "Meta["+KeyGuardBaseline+"]", "no split leads to subset "+clip(o.Baseline)+"; the first one is the baseline")
		}
	}
	arms := b.opt.Guard.watch(s, o, base)
	for i, a := range arms {
		s.branches[i].arm, s.branches[i].plan.arm = a, a
	}
}

// watch gives the arms of a splitter's branches; all nil if nothing is to be
// watched. Arms whose branch is gone are forgotten.
func (g *Guard) watch(s *splitter, o Objective, base int) []*arm {
	g.mu.Lock()
	defer g.mu.Unlock()
	arms := make([]*arm, len(s.branches))
	if !o.On() {
		delete(g.arms, s.name)
		return arms
	}
	o = o.withDefaults()
	g.every.Store(int64(min(max(o.Window/1000, time.Millisecond), 10*time.Millisecond, time.Duration(g.every.Load()))))
	had, now := g.arms[s.name], map[string]*arm{}
	for i := range s.branches {
		id := s.branches[i].plan.Target.ID
		a := now[id]
		if a == nil {
			a = had[id]
		}
		if a == nil || a.objective.Window != o.Window {
			fresh := &arm{g: g, splitter: s.name, target: id}
			fresh.seen.slot = max(o.Window/slots, 1)
			fresh.share.Store(shareScale)
			if a != nil {
				fresh.state, fresh.since, fresh.until, fresh.fails = a.state, a.since, a.until, a.fails
				fresh.share.Store(a.share.Load())
			}
			a = fresh
		}
		a.objective = o
		now[id], arms[i] = a, a
	}
	for _, a := range now {
		if a.baseline = arms[base]; a == arms[base] {
			a.baseline, a.state, a.fails = nil, armIn, 0
			a.share.Store(shareScale)
		}
	}
	g.arms[s.name] = now
	return arms
}

// Status is how the branches under guard stand, sorted by splitter and target.
func (g *Guard) Status() []GuardStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []GuardStatus
	for _, name := range slices.Sorted(maps.Keys(g.arms)) {
		for _, id := range slices.Sorted(maps.Keys(g.arms[name])) {
			a := g.arms[name][id]
			list = append(list, GuardStatus{name, id, float64(a.share.Load()) / shareScale, a.baseline == nil})
		}
	}
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

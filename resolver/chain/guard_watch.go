package chain

import (
	"maps"
	"slices"
	"time"
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
	arms := b.opt.Guard.watch(b.c.ServiceName, s, o, base)
	for i, a := range arms {
		s.branches[i].arm, s.branches[i].plan.arm = a, a
	}
}

// watch gives the arms of a splitter's branches; all nil if nothing is to be
// watched. Arms whose branch is gone are forgotten.
func (g *Guard) watch(service string, s *splitter, o Objective, base int) []*arm {
	g.mu.Lock()
	defer g.mu.Unlock()
	arms := make([]*arm, len(s.branches))
	at := armPlace{service, s.name}
	if !o.On() {
		for _, a := range g.arms[at] {
			a.share.Store(shareScale)
		}
		delete(g.arms, at)
		return arms
	}
	o = o.withDefaults()
	g.every.Store(int64(min(max(o.Window/1000, time.Millisecond), 10*time.Millisecond, time.Duration(g.every.Load()))))
	had, now := g.arms[at], map[string]*arm{}
	for i := range s.branches {
		id := s.branches[i].plan.Target.ID
		a := now[id]
		if a == nil {
			a = had[id]
		}
		if a == nil || a.objective.Window != o.Window {
			fresh := &arm{g: g, place: at, target: id}
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
	g.arms[at] = now
	return arms
}

// keep forgets the splitters that a service's chain does not have any more.
func (g *Guard) keep(service string, splits []*splitter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.arms, func(at armPlace, _ map[string]*arm) bool {
		return at.service == service && !slices.ContainsFunc(splits, func(s *splitter) bool { return s.name == at.splitter })
	})
}

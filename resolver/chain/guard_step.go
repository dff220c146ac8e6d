package chain

import "time"

const (
	returnSteps = 10 // of a return
	maxFails    = 4  // doublings of the hold time
)

// step moves the branch to its next state, if it is time, with g.mu held.
func (a *arm) step(now time.Duration) (ev GuardEvent, changed bool) {
	ev = GuardEvent{Service: a.place.service, Splitter: a.place.splitter, Target: a.target}
	hold := a.objective.Hold
	switch a.state {
	case armOut:
		if now < a.until {
			return ev, false
		}
		a.seen.clear(now)
		a.state, a.since = armReturning, now
		a.share.Store(shareScale / returnSteps)
		ev.Kind = Returning
		return ev, true
	case armReturning:
		if why := a.breach(now); why != "" {
			a.fails = min(a.fails+1, maxFails)
			return a.out(ev, now, why), true
		}
		steps := 1 + int64(now-a.since)*(returnSteps-1)/int64(hold)
		if steps < returnSteps {
			a.share.Store(uint32(steps) * shareScale / returnSteps)
			return ev, false
		}
		a.state, a.since, a.fails = armIn, now, 0
		a.share.Store(shareScale)
		ev.Kind = Restored
		return ev, true
	}
	if why := a.breach(now); why != "" {
		return a.out(ev, now, why), true
	}
	return ev, false
}

func (a *arm) out(ev GuardEvent, now time.Duration, why string) GuardEvent {
	a.state, a.since = armOut, now
	a.until = now + a.objective.Hold<<a.fails
	a.share.Store(0)
	ev.Kind, ev.Reason, ev.Until = TakenOut, why, a.g.start.Add(a.until)
	return ev
}

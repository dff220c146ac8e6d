package resilience

import (
	"fmt"
	"time"
)

// An attempt that ends at its caller's own deadline says little: the caller may
// have been impatient. So it is Neutral, and Breaker, budgets and rates take no
// note of it. But without an attempt timeout it is also all that a caller ever
// sees of an endpoint that has fallen silent: a black hole, a stopped process.
// Waiting for the transport's keepalive costs 10 s and more of lost calls.
//
// What tells the two apart is not one attempt but what surrounds it. A silent
// attempt counts like a failure in a row if all of this holds:
//
//   - Not a byte of an answer came: [Outcome.Silent]. A cancelled attempt is never
//     silent, nor one that was not sent, nor one whose answer had begun.
//   - It lasted clearly longer than the endpoint usually takes, and 100 ms: a tiny
//     deadline counts nowhere, however often it passes.
//   - The endpoint has answered nobody since the attempt began. One slow method
//     beside others that are answered counts nowhere.
//
// A row of them ejects only if
//
//   - no such row of late was ended by an answer: where that happens, it is the
//     calls that are slow (one method is, and callers give it too little time), and
//     another endpoint would be as slow;
//   - another endpoint is in use that is not silent itself.
const (
	silentFloor   = 100 * time.Millisecond // pauses of a healthy process are shorter
	silentUnknown = 250 * time.Millisecond // for an endpoint of which nothing is known
	silentFactor  = 2                      // times what it usually takes
)

// Silent counts an attempt whose outcome is [Outcome.Silent]. took is how long it
// lasted, usual how long attempts that succeed take at this endpoint at most, of
// late; zero: not known. It reports whether the attempt counts: whether it lasted
// long enough while the endpoint answered nobody. An endpoint that was silent once
// should get less load, several times in a row ejects it.
func (h *OutlierHost) Silent(took, usual time.Duration) bool {
	o := h.o
	least := max(silentFloor, silentFactor*usual)
	if usual <= 0 {
		least = silentUnknown
	}
	now := h.calls.now()
	if o.cfg.Consecutive < 0 || took < least || now-took < time.Duration(h.answered.Load()) {
		return false
	}
	mute := h.mute.Add(1)
	n := h.row.Add(1)
	if int(n) < o.cfg.Consecutive {
		return true
	}
	o.mu.Lock()
	defer o.unlock()
	if at := time.Now(); !o.slowCalls(at) && o.anotherAnswers(h, at) {
		o.eject(h, at, func() string { return fmt.Sprintf("%d failures in a row, %d of them without any answer", n, mute) })
	}
	return true
}

// spoke notes an answer of the endpoint. A row of silence that ends like this was
// a matter of time; a single one may be an accident.
func (h *OutlierHost) spoke(now time.Duration) {
	if at := time.Duration(h.answered.Load()); now-at > time.Millisecond { // rarely, because all cores write it
		h.answered.Store(int64(now))
	}
	if h.mute.Load() != 0 && h.mute.Swap(0) > 1 {
		h.o.spoken.Store(int64(time.Since(h.o.start)) + 1)
	}
}

// slowCalls reports whether rows of silence were ended by answers of late.
func (o *Outlier) slowCalls(now time.Time) bool {
	at := o.spoken.Load()
	return at != 0 && int64(now.Sub(o.start))-at < int64(o.cfg.Window)
}

// anotherAnswers reports whether h is not the last one. It is called with o.mu held.
func (o *Outlier) anotherAnswers(h *OutlierHost, now time.Time) bool {
	for _, x := range o.hosts {
		if x != h && x.refs > 0 && !x.until.After(now) && int(x.mute.Load()) < o.cfg.Consecutive {
			return true
		}
	}
	return false
}

package drill

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// CheckEnds is I1: every request ends by its deadline and a little.
func CheckEnds(reqs []Request, slack time.Duration) error {
	for _, r := range reqs {
		if r.End == 0 {
			return fmt.Errorf("I1: request %d (%s), due at %v, never ended", r.ID, r.Kind, r.Due)
		}
		if late := r.End - r.Deadline; late > slack {
			return fmt.Errorf("I1: request %d (%s), due at %v, ended %v after its deadline, at most %v is allowed", r.ID, r.Kind, r.Due, late, slack)
		}
	}
	return nil
}

// CheckAttempts is I2: in all of the time, and in any window, no more attempts
// leave the caller than the requests of that window times ratio and perSecond more.
func CheckAttempts(reqs []Request, ratio, perSecond float64, window time.Duration) error {
	end := time.Duration(0)
	for _, r := range reqs {
		end = max(end, r.End, r.Due)
	}
	step := window / 4
	offered, sent := make([]int, end/step+1), make([]int, end/step+1)
	for _, r := range reqs {
		offered[r.Due/step]++
		for _, a := range r.Sent {
			if a.At >= 0 && a.At <= end {
				sent[a.At/step]++
			}
		}
	}
	look := func(from, to int) error {
		o, s := 0, 0
		for i := from; i < to; i++ {
			o, s = o+offered[i], s+sent[i]
		}
		// A request at the window's beginning may be one of the step before.
		if from > 0 {
			o += offered[from-1]
		}
		most := float64(o)*ratio + perSecond*(time.Duration(to-from)*step).Seconds()
		if float64(s) > most {
			return fmt.Errorf("I2: %d attempts for %d requests from %v to %v, at most %.0f are allowed", s, o, time.Duration(from)*step, time.Duration(to)*step, most)
		}
		return nil
	}
	errs := []error{look(0, len(sent))}
	for i := 0; i+4 <= len(sent); i++ {
		errs = append(errs, look(i, i+4))
	}
	return errors.Join(errs...)
}

// CheckPeers is I3: what left the callers went to genuine endpoints only, and what
// pretends to be one has seen no request.
func CheckPeers(reqs []Request, genuine func(host string) bool, seenByImpostors int64) error {
	if seenByImpostors > 0 {
		return fmt.Errorf("I3: an endpoint that cannot prove its identity was sent %d requests", seenByImpostors)
	}
	for _, r := range reqs {
		for _, a := range slices.Concat(r.Sent, r.Got) {
			if !genuine(a.Host) {
				return fmt.Errorf("I3: request %d went to %s, which is none of the service's endpoints", r.ID, a.Host)
			}
		}
	}
	return nil
}

// CheckDenied is I4: nothing that was to be denied succeeded or reached a handler.
func CheckDenied(denied []Request) error {
	for _, r := range denied {
		if len(r.Got) > 0 || r.OK() {
			return fmt.Errorf("I4: request %d (%s), which is to be denied, reached %d handlers", r.ID, r.Kind, len(r.Got))
		}
	}
	return nil
}

// CheckSets is I5: once it has endpoints, a service is never without. sizes are
// those of its snapshots, one after the other.
func CheckSets(sizes []int) error {
	full := false
	for i, n := range sizes {
		if n == 0 && full {
			return fmt.Errorf("I5: snapshot %d of %d is empty", i+1, len(sizes))
		}
		full = full || n > 0
	}
	if !full {
		return errors.New("I5: no snapshot has an endpoint, so nothing is shown")
	}
	return nil
}

// CheckOnce is I6: nothing that may be done once only is done twice.
func CheckOnce(reqs []Request) error {
	for _, r := range reqs {
		if !r.Safe && len(r.Got) > 1 {
			return fmt.Errorf("I6: request %d (%s) is not idempotent, and was done %d times: %v", r.ID, r.Kind, len(r.Got), r.Got)
		}
	}
	return nil
}

// CheckReturned is I7: what was open before is all that is open in the end.
func CheckReturned(what string, before, after, slack int) error {
	if after > before+slack {
		return fmt.Errorf("I7: %d %s in the end, %d in the beginning", after, what, before)
	}
	return nil
}

// CheckEvents is I8: each change of state is one event. Both map what happened to
// how often.
func CheckEvents(changes, events map[string]int) error {
	keys := map[string]bool{}
	for _, m := range []map[string]int{changes, events} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if changes[k] != events[k] {
			return fmt.Errorf("I8: %q happened %d times, and %d events tell of it", k, changes[k], events[k])
		}
	}
	return nil
}

// Success is the share of requests that succeeded, 1 if there are none.
func Success(reqs []Request) float64 {
	if len(reqs) == 0 {
		return 1
	}
	good := 0
	for i := range reqs {
		if reqs[i].OK() {
			good++
		}
	}
	return float64(good) / float64(len(reqs))
}

// CheckSuccess is I9, and the form of most promises: at least share of the requests
// succeed.
func CheckSuccess(when string, reqs []Request, share float64) error {
	if len(reqs) == 0 {
		return fmt.Errorf("I9: %s: there are no requests, so nothing is shown", when)
	}
	got := Success(reqs)
	if got >= share {
		return nil
	}
	why := map[string]int{}
	for _, r := range reqs {
		if r.Err != nil {
			text := r.Err.Error()
			why[text[:min(len(text), 160)]]++
		}
	}
	return fmt.Errorf("I9: %s: %.3f %% of %d requests succeeded, at least %.3f %% are promised; %v", when, 100*got, len(reqs), 100*share, why)
}

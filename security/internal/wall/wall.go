// Package wall waits for moments of the wall clock, such as the end of a
// certificate. A timer runs on the monotonic clock: it hears neither of a jump of the
// wall clock nor of a machine that slept.
package wall

import "time"

// nap is how long a jump of the clock stays unnoticed at most.
const nap = time.Minute

// Until is how long to sleep before at is looked at again: until then, but at most a
// minute. Zero: it has come.
func Until(at time.Time) time.Duration { return until(at, time.Now()) }

func until(at, now time.Time) time.Duration {
	// Without what both may have of the monotonic clock.
	return min(max(at.Round(0).Sub(now.Round(0)), 0), nap)
}

// Wait waits until at has come, and reports whether it has: false if one of the
// channels was closed first. nil never is.
func Wait(at time.Time, stop, changed <-chan struct{}) bool { return wait(at, stop, changed, time.Now) }

func wait(at time.Time, stop, changed <-chan struct{}, now func() time.Time) bool {
	timer := time.NewTimer(until(at, now()))
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return false
		case <-changed:
			return false
		case <-timer.C:
		}
		left := until(at, now())
		if left == 0 {
			return true
		}
		timer.Reset(left)
	}
}

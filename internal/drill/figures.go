package drill

import (
	"slices"
	"time"
)

// Share is the share of all attempts that were sent in [from, to) that went to a
// host which is accepts.
func Share(reqs []Request, from, to time.Duration, is func(host string) bool) float64 {
	all, in := 0, 0
	for _, r := range reqs {
		for _, a := range r.Sent {
			if a.At < from || a.At >= to {
				continue
			}
			all++
			if is(a.Host) {
				in++
			}
		}
	}
	if all == 0 {
		return 0
	}
	return float64(in) / float64(all)
}

// Quiet is the end of the first window after from, from which on the share of
// attempts to a host which is accepts stays at or below share for span; -1 if there
// is none.
func Quiet(reqs []Request, from, end, window, span time.Duration, share float64, is func(host string) bool) time.Duration {
	run := time.Duration(0)
	for at := from; at+window <= end; at += window {
		if Share(reqs, at, at+window, is) > share {
			run = 0
			continue
		}
		if run += window; run >= span {
			return at + 2*window - run - from
		}
	}
	return -1
}

// Quantile is the q-th quantile of how long the requests took.
func Quantile(reqs []Request, q float64) time.Duration {
	if len(reqs) == 0 {
		return 0
	}
	took := make([]time.Duration, len(reqs))
	for i := range reqs {
		took[i] = reqs[i].Took()
	}
	slices.Sort(took)
	return took[min(int(float64(len(took))*q), len(took)-1)]
}

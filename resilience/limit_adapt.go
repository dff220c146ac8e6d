package resilience

import (
	"math"
	"sync/atomic"
	"time"
)

// adaptive is the part of a ConcurrencyLimit that moves it.
type adaptive struct {
	start    time.Time
	next     atomic.Int64 // when the window may end, since start
	stepping atomic.Bool  // guards limit, base, long and past
	floor    atomic.Int64 // base, for the ends of calls

	// The current window.
	counts  [latencyBuckets]atomic.Uint32
	samples atomic.Uint32
	sum     atomic.Int64
	peak    atomic.Int64 // most calls under way
	dropped atomic.Bool  // what is behind us refuses load

	limit float64
	base  float64 // Vegas: 90th percentile without a queue, in ns
	long  float64 // Gradient2: long average, in ns
	seen  int     // windows
	past  []moment
}

// moment is what a past window was like.
type moment struct{ limit, latency float64 }

// remember is how many windows the guard looks at.
const remember = 6

func (a *adaptive) saw(inflight int64) {
	for {
		p := a.peak.Load()
		if inflight <= p || a.peak.CompareAndSwap(p, inflight) {
			return
		}
	}
}

func (a *adaptive) sample(took time.Duration, dropped bool) {
	a.counts[bucketOf(took)].Add(1)
	a.sum.Add(int64(took))
	a.samples.Add(1)
	if dropped {
		a.dropped.Store(true)
	}
}

func (a *adaptive) ready(least int) bool { return a.samples.Load() >= uint32(least) }

// measured is what one window was like.
type measured struct {
	p90, mean float64 // ns
	peak      float64
	dropped   bool
}

// take ends the window. Calls that end at the same time count in either.
func (a *adaptive) take() measured {
	var counts [latencyBuckets]uint32
	n := uint32(0)
	for i := range a.counts {
		counts[i] = a.counts[i].Swap(0)
		n += counts[i]
	}
	a.samples.Store(0)
	return measured{
		p90:     float64(percentile(&counts, n, 0.9)),
		mean:    float64(a.sum.Swap(0)) / float64(max(1, n)),
		peak:    float64(a.peak.Swap(0)),
		dropped: a.dropped.Swap(false),
	}
}

// percentile takes the samples of a bucket to be spread evenly in it.
func percentile(counts *[latencyBuckets]uint32, n uint32, q float64) time.Duration {
	rank := uint32(math.Ceil(q * float64(n)))
	for i, c := range counts {
		if c >= rank {
			low := time.Duration(0)
			if i > 0 {
				low = bucketBound(i - 1)
			}
			return max(1, low+time.Duration(float64(bucketBound(i)-low)*float64(rank)/float64(c)))
		}
		rank -= c
	}
	return bucketBound(latencyBuckets - 1)
}

// vegas estimates the queue as limit·(1 - base/p90) and keeps it between 3 and 6
// times log10(limit) (Netflix concurrency-limits, VegasLimit).
//
// The base falls quickly and rises only if the limit fell and the latency did
// not follow: then the work itself has become slower, and a lower limit does not
// help. That is the correlation guard of Uber's Cinnamon and failsafe-go. Where
// latency follows the limit it is a queue, and the base stays.
func (a *adaptive) vegas(w measured) float64 {
	a.past = append(a.past, moment{a.limit, w.p90})
	if len(a.past) > remember {
		a.past = a.past[1:]
	}
	switch {
	case a.base == 0:
		a.base = w.p90
	case w.p90 < a.base: // by halves: the luckiest window is no measure
		a.base += 0.5 * (w.p90 - a.base)
	case a.unmoved():
		a.base += 0.5 * (w.p90 - a.base)
	}
	a.floor.Store(int64(a.base))
	l := a.limit
	step := max(1, math.Log10(l))
	queue := l * (1 - a.base/w.p90)
	switch {
	case !w.dropped && 2*w.peak < l: // it is not what holds the load
		return l
	case w.dropped || queue > 6*step:
		return l - max(step, l/10)
	case queue <= step:
		return min(l+6*step, 5*max(w.peak, 1))
	case queue < 3*step:
		return min(l+step, 5*max(w.peak, 1))
	}
	return l
}

// unmoved reports whether the limit fell by a quarter and the latency by less
// than a twentieth.
func (a *adaptive) unmoved() bool {
	now := a.past[len(a.past)-1]
	for _, m := range a.past {
		if now.limit <= 0.75*m.limit && now.latency >= 0.95*m.latency {
			return true
		}
	}
	return false
}

// gradient2 follows the ratio of the long average and the window's: 1.5 of it,
// at most 1, is how much of the limit is kept, and 4 are added to probe (Netflix
// concurrency-limits, Gradient2Limit).
func (a *adaptive) gradient2(w measured) float64 {
	const warm, span = 10, 600
	a.seen++
	if a.long == 0 {
		a.long = w.mean
	}
	if a.seen <= warm {
		a.long += (w.mean - a.long) / float64(a.seen)
	} else {
		a.long += (w.mean - a.long) * 2 / (span + 1)
	}
	if a.long > 2*w.mean { // after an overload it would hold on to it
		a.long *= 0.95
	}
	l := a.limit
	if !w.dropped && 2*w.peak < l {
		return l
	}
	gradient := min(max(1.5*a.long/max(w.mean, 1), 0.5), 1)
	if w.dropped {
		gradient = 0.5
	}
	return 0.8*l + 0.2*(gradient*l+4)
}

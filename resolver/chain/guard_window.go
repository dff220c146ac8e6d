package chain

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	slots     = 10 // of a window
	sub       = 8  // buckets per doubling of the latency: 12.5 % wide at most
	buckets   = 30 * sub
	minFailed = 3 // fewer failures are no breach
	tail      = 5 // calls that must lie above a percentile for it to count
)

// window counts the calls of the last slots. It takes no lock: a count may be lost
// where a slot begins.
type window struct {
	slot  time.Duration
	since atomic.Int64 // slots before this one do not count
	ring  [slots]slotCounts
}

type slotCounts struct {
	epoch         atomic.Int64 // 1 + the number of the slot; 0: unused
	calls, failed atomic.Uint32
	took          [buckets]atomic.Uint32 // of the calls that succeeded
}

func (w *window) record(now time.Duration, failed bool, took time.Duration) {
	n := int64(now/w.slot) + 1
	s := &w.ring[n%slots]
	if old := s.epoch.Load(); old != n && s.epoch.CompareAndSwap(old, n) {
		s.calls.Store(0)
		s.failed.Store(0)
		for i := range s.took {
			s.took[i].Store(0)
		}
	}
	s.calls.Add(1)
	if failed {
		s.failed.Add(1)
		return
	}
	s.took[bucket(took)].Add(1)
}

// clear forgets what was counted.
func (w *window) clear(now time.Duration) {
	w.since.Store(int64(now/w.slot) + 1)
	n := &w.ring[(int64(now/w.slot)+1)%slots]
	n.epoch.Store(0)
}

// counts is the sum of a window.
type counts struct{ calls, failed uint64 }

func (c counts) errors() float64 { return float64(c.failed) / float64(c.calls) }

// best is the percentile at which latencies are compared: 0.99, or with fewer
// calls the highest one that some calls are above. 0: there are too few.
func (c counts) best() float64 {
	ok := c.calls - min(c.failed, c.calls)
	if ok < 4*tail {
		return 0
	}
	return min(0.99, 1-tail/float64(ok))
}

func (w *window) live(s *slotCounts, now time.Duration) bool {
	n, e := int64(now/w.slot)+1, s.epoch.Load()
	return e > n-slots && e <= n && e >= w.since.Load() && e > 0
}

func (w *window) sum(now time.Duration) (c counts) {
	for i := range w.ring {
		if s := &w.ring[i]; w.live(s, now) {
			c.calls += uint64(s.calls.Load())
			c.failed += uint64(s.failed.Load())
		}
	}
	return c
}

// quantile is the latency below which the share q of the successful calls lies.
func (w *window) quantile(now time.Duration, q float64) time.Duration {
	var hist [buckets]uint64
	total := uint64(0)
	for i := range w.ring {
		s := &w.ring[i]
		if !w.live(s, now) {
			continue
		}
		for j := range s.took {
			n := uint64(s.took[j].Load())
			hist[j] += n
			total += n
		}
	}
	at := uint64(q * float64(total))
	for j, n := range hist {
		if n > 0 && at < n {
			low, high := edge(j), edge(j+1)
			return low + time.Duration(float64(high-low)*(float64(at)+0.5)/float64(n))
		}
		at -= min(at, n)
	}
	return 0
}

// bucket is the place of a latency: eight per doubling, from a microsecond on.
func bucket(d time.Duration) int {
	v := uint64(max(d/time.Microsecond, 0))
	if v < sub {
		return int(v)
	}
	e := bits.Len64(v) // at least 4
	return min((e-3)*sub+int(v>>(e-4))-sub, buckets-1)
}

// edge is the lowest latency of a bucket.
func edge(i int) time.Duration {
	if i < sub {
		return time.Duration(i) * time.Microsecond
	}
	e := i/sub + 3
	return time.Duration(uint64(sub+i%sub)<<(e-4)) * time.Microsecond
}

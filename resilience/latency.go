package resilience

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// latencyBuckets reach from 1 µs to 35 min: eight per doubling, so a quantile
	// is off by an eighth at most.
	latencyBuckets = 240
	// minSamples is how many samples a quantile is worth something from.
	minSamples = 20
	// keepSamples is when the old half of the samples begins to fade.
	keepSamples = 4096
	// maxMethods bounds the methods with a histogram of their own (1 KiB each);
	// those beyond share one.
	maxMethods = 256
)

// latencies are the live latencies by method. No lock is taken on the way of a
// call, and nothing is allocated: a sync.Map would box the name.
type latencies struct {
	byMethod atomic.Pointer[map[string]*latency] // replaced, never written
	mu       sync.Mutex                          // of those who replace it
	rest     latency
}

func (l *latencies) of(method string) *latency {
	if m := l.byMethod.Load(); m != nil {
		if v := (*m)[method]; v != nil {
			return v
		}
		if len(*m) >= maxMethods {
			return &l.rest
		}
	}
	return l.add(method)
}

func (l *latencies) add(method string) *latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]*latency{}
	if m := l.byMethod.Load(); m != nil {
		if v := (*m)[method]; v != nil {
			return v
		}
		if len(*m) >= maxMethods {
			return &l.rest
		}
		all = maps.Clone(*m)
	}
	v := &latency{}
	all[method] = v
	l.byMethod.Store(&all)
	return v
}

// latency is the histogram of one method. Its quantiles are computed every few
// samples and read by one atomic load.
type latency struct {
	buckets   [latencyBuckets]atomic.Uint32
	total     atomic.Uint32
	computing atomic.Bool
	mid, high atomic.Int64 // p50 and p95 in nanoseconds; 0 is not known
}

// p50 and p95 are zero while too little is known.
func (l *latency) p50() time.Duration { return time.Duration(l.mid.Load()) }
func (l *latency) p95() time.Duration { return time.Duration(l.high.Load()) }

func (l *latency) record(d time.Duration) {
	l.buckets[bucketOf(d)].Add(1)
	n := l.total.Add(1)
	if n%64 == 0 || n < 256 && n%10 == 0 {
		l.compute()
	}
}

func (l *latency) compute() {
	if l.computing.Swap(true) {
		return
	}
	defer l.computing.Store(false)
	var counts [latencyBuckets]uint32
	sum := uint32(0)
	for i := range counts {
		counts[i] = l.buckets[i].Load()
		sum += counts[i]
	}
	if sum >= minSamples {
		l.mid.Store(int64(quantile(&counts, sum/2)))
		l.high.Store(int64(quantile(&counts, sum-sum/20)))
	}
	if sum < keepSamples {
		return
	}
	for i, c := range counts {
		l.buckets[i].Add(-(c / 2))
		sum -= c / 2
	}
	l.total.Store(sum)
}

// quantile is the upper bound of the bucket with the n-th sample.
func quantile(counts *[latencyBuckets]uint32, n uint32) time.Duration {
	for i, c := range counts {
		if n <= c {
			return bucketBound(i)
		}
		n -= c
	}
	return bucketBound(latencyBuckets - 1)
}

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0)) / uint64(time.Microsecond)
	if v < 8 {
		return int(v)
	}
	e := bits.Len64(v) - 1
	return min((e-2)*8+int(v>>(e-3)&7), latencyBuckets-1)
}

func bucketBound(i int) time.Duration {
	if i < 8 {
		return time.Duration(i+1) * time.Microsecond
	}
	return time.Duration(8+i%8+1) << (i/8 - 1) * time.Microsecond
}

package resilience

import (
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestLatencyBuckets(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{-1, 0, 1, 7 * time.Microsecond, 8 * time.Microsecond, time.Millisecond, 123456789, time.Second, time.Minute, 30 * time.Minute} {
		i := bucketOf(d)
		top := bucketBound(i)
		if d >= top || i > 0 && d < bucketBound(i-1) {
			t.Errorf("%v is in bucket %d, which ends at %v", d, i, top)
		}
		if d > 8*time.Microsecond && float64(top) > 1.126*float64(d) {
			t.Errorf("bucket of %v ends at %v: off by more than an eighth", d, top)
		}
	}
	if i := bucketOf(1<<63 - 1); i != latencyBuckets-1 {
		t.Errorf("the longest time is in bucket %d", i)
	}
}

func TestLatencyQuantiles(t *testing.T) {
	t.Parallel()
	l := new(latency)
	for i := range minSamples - 1 {
		l.record(time.Duration(i) * time.Millisecond)
	}
	if l.p95() != 0 || l.p50() != 0 {
		t.Errorf("quantiles of %d samples: %v, %v", minSamples-1, l.p50(), l.p95())
	}
	l = new(latency)
	for i := range 1000 {
		l.record(time.Duration(i%100+1) * time.Millisecond)
	}
	if got := l.p50(); got < 48*time.Millisecond || got > 57*time.Millisecond {
		t.Errorf("p50 %v, want about 50ms", got)
	}
	if got := l.p95(); got < 93*time.Millisecond || got > 108*time.Millisecond {
		t.Errorf("p95 %v, want about 95ms", got)
	}
	for range 4 * keepSamples { // old samples fade
		l.record(time.Millisecond)
	}
	if got := l.p95(); got > 2*time.Millisecond {
		t.Errorf("p95 %v long after the method became fast", got)
	}
}

func TestLatenciesAreBounded(t *testing.T) {
	t.Parallel()
	var l latencies
	for i := range 2 * maxMethods {
		l.of(strconv.Itoa(i)).record(1)
	}
	if l.of("0") == &l.rest || l.of("new") != &l.rest || len(*l.byMethod.Load()) != maxMethods {
		t.Errorf("%d methods have a histogram", len(*l.byMethod.Load()))
	}
}

func TestLatencyConcurrent(t *testing.T) {
	t.Parallel()
	l := new(latency)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2 * keepSamples {
				l.record(10 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if got := l.p50(); got < 10*time.Millisecond || got > 12*time.Millisecond {
		t.Errorf("p50 %v, want about 10ms", got)
	}
}

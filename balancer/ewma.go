package balancer

import (
	"math"
	"math/bits"
	"time"

	"github.com/weft-mesh/weft/resilience"
)

// The state of a Load is one word, so that it changes by compare-and-swap:
//
//	bits 63..32  when the latency was last sampled, in ticks
//	bits 31..16  latency: log2 of nanoseconds, 10 bits after the point; 0 is unknown
//	bits 15..0   failures: the recent share of failed attempts, in 1/65536
//
// The latency is a peak EWMA (Finagle): it jumps up to a sample above it and
// decays towards samples below it with exp(-dt/decay). It is kept as a
// logarithm, which makes a comparison of costs a subtraction, and makes an old
// peak fade in a time that hardly depends on its height.
//
// A failure never lowers the latency, however fast it came; it raises the share
// of failures by an eighth of what is missing to 1, a success lowers it by an
// eighth, and time lowers it with the same decay. The share costs 12·share²
// doublings: 1 % of failures are nearly free, 50 % cost a factor of 8, a node
// that only fails costs 4096 times as much. A refusal to take load (Throttled)
// counts as a failure here: the load should go elsewhere. Silence (see
// resilience.OutlierHost.Silent) raises the share by half of what is missing: it
// is noticed once for each time that a caller waits, not for each answer, and
// costs that caller all of it.

const (
	tickShift = 16        // a tick is 65.5 µs; 32 bits of them last 78 hours
	fixed     = 1 << 10   // one doubling
	deadBand  = fixed / 4 // latencies within a factor of 1.19 are equal
	penalty   = 12 * fixed
	failing   = fixed // a cost of failures from which on others are looked for
	decaySize = 1024  // entries of the table of exp(-x/64)
)

// defaultDecay is the time constant of the EWMA. A node that was 50 times slower than
// its peers and is well again has lost that lead, but for the dead band, after 3.1
// of it: with 5 s, its share is back in less than half a minute. Finagle has 10 s.
const defaultDecay = 5 * time.Second

var decayTable = func() (t [decaySize + 1]float32) {
	for i := range t {
		t[i] = float32(math.Exp(-float64(i) / 64))
	}
	return t
}()

func tickOf(now int64) uint32 { return uint32(uint64(now) >> tickShift) }

// inverseDecay turns a time constant into table steps per tick.
func inverseDecay(d time.Duration) float32 {
	return float32(64 * float64(int64(1)<<tickShift) / float64(d))
}

// decay is exp(-age/decay), and 0 when that is below 1e-6.
func decay(age uint32, inv float32) float32 {
	x := float32(age) * inv
	if x >= decaySize-1 {
		return 0
	}
	i := int(x)
	return decayTable[i] + (decayTable[i+1]-decayTable[i])*(x-float32(i))
}

// age is the time since stamp. Readers use a coarse clock, so a stamp may be a
// little in the future.
func age(now, stamp uint32) uint32 {
	d := now - stamp
	if d > math.MaxUint32-1<<20 {
		return 0
	}
	return d
}

// lg is log2(x) with 10 bits after the point, straight between powers of two.
// x must be positive.
func lg(x uint64) int32 {
	e := 63 - bits.LeadingZeros64(x)
	return int32(e)<<10 | int32(x<<(63-e)>>53&(fixed-1))
}

func pack(stamp uint32, latency, failures uint32) uint64 {
	return uint64(stamp)<<32 | uint64(latency)<<16 | uint64(failures)
}

func unpack(v uint64) (stamp uint32, latency, failures uint32) {
	return uint32(v >> 32), uint32(v >> 16 & 0xffff), uint32(v & 0xffff)
}

// done ends an attempt. Neutral outcomes say nothing and change nothing else.
func (l *Load) done(start, end int64, o resilience.Outcome, inv float32) {
	l.inflight.Add(-1)
	if o.Class == resilience.Neutral {
		return
	}
	now := tickOf(end)
	l.clock.advance(now)
	sample := uint32(max(1, lg(uint64(max(1, end-start)))))
	for {
		old := l.ewma.Load()
		v := next(old, now, sample, o, inv)
		if v == old || l.ewma.CompareAndSwap(old, v) {
			return
		}
	}
}

// next is the word after a sample. Between steps of decay/64 only peaks and
// failures change it: a busy node does not write at each success, and each step
// is large enough for the latency's 10 bits.
func next(old uint64, now, sample uint32, o resilience.Outcome, inv float32) uint64 {
	success := o.Class == resilience.Success
	stamp, latency, failures := unpack(old)
	dt := age(now, stamp)
	w := float32(1)
	peak := sample > latency && (success || latency != 0)
	if step := float32(dt)*inv >= 1; step || peak {
		if latency != 0 || failures != 0 {
			w = decay(dt, inv)
		}
		stamp = now
	}
	failures = uint32(float32(failures) * w)
	switch {
	case success:
		failures -= (failures + 7) / 8
	case o.Silent:
		failures += (math.MaxUint16 - failures) / 2
	default:
		failures += (math.MaxUint16 - failures) / 8
	}
	switch {
	case peak:
		latency = sample
	case success:
		latency = uint32(float32(latency)*w + float32(sample)*(1-w) + 0.5)
	}
	return pack(stamp, latency, failures)
}

// cost is what the failures of a word cost, in doublings.
func failureCost(v uint64, now uint32, inv float32) int32 {
	stamp, _, failures := unpack(v)
	if failures == 0 {
		return 0
	}
	f := float32(failures) / (1 << 16) * decay(age(now, stamp), inv)
	return int32(penalty * f * f)
}

// latencyLead is by how many doublings the latency of a exceeds that of b, as
// far as it is known: trust fades with the age of the older sample, so an
// unknown node, and in the end one that was not used for long, counts as the
// peer it is compared with.
func latencyLead(a, b uint64, now uint32, inv float32) int32 {
	sa, la, _ := unpack(a)
	sb, lb, _ := unpack(b)
	if la == 0 || lb == 0 {
		return 0
	}
	d := int32(la) - int32(lb)
	if d >= -deadBand && d <= deadBand {
		return 0
	}
	d = int32(float32(d) * decay(max(age(now, sa), age(now, sb)), inv))
	switch {
	case d > deadBand:
		return d - deadBand
	case d < -deadBand:
		return d + deadBand
	}
	return 0
}

// Latency is the decaying peak of the successful attempts' latency, and false
// if none has succeeded yet.
func (l *Load) Latency() (time.Duration, bool) {
	_, latency, _ := unpack(l.ewma.Load())
	if latency == 0 {
		return 0, false
	}
	e, m := latency>>10, latency&(fixed-1)
	return time.Duration(float64(uint64(1)<<e) * (1 + float64(m)/fixed)), true
}

// FailureShare is the recent share of failed attempts, 0 to 1, without the decay
// since the last attempt.
func (l *Load) FailureShare() float64 {
	_, _, failures := unpack(l.ewma.Load())
	return float64(failures) / math.MaxUint16
}

package telemetry

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// A Histogram has 32 buckets for each doubling of a duration, from a microsecond
// to more than an hour. Their bounds are those of OpenTelemetry's exponential
// histogram of scale 5, in seconds: 2^(i/32). So an export moves no count, and
// the middle of a bucket is at most 1.1 % off.
const (
	// Scale is the scale of the exponential form.
	Scale     = 5
	perOctave = 1 << Scale
	minExp    = -20 // 0.95 µs; what is shorter counts there
	maxExp    = 12  // 68 to 137 min; what is longer counts there
	octaves   = maxExp - minExp + 1
	// Buckets is how many there are.
	Buckets = octaves * perOctave
)

// Histogram counts durations. Its parts are on cache lines of their own, one part
// per processor up to 8, and an octave has room from its first duration on. All
// methods may be called at the same time; Record takes no lock, and allocates only
// the first time that a part sees an octave.
type Histogram struct{ parts []part }

type part struct {
	octaves [octaves]atomic.Pointer[octave]
	sum     atomic.Uint64 // nanoseconds
	_       [48]byte      // to a multiple of the cache line
}

// octave fills four cache lines by itself.
type octave [perOctave]atomic.Uint64

// NewHistogram makes an empty Histogram.
func NewHistogram() *Histogram { return &Histogram{make([]part, partsFor(runtime.GOMAXPROCS(0)))} }

// partsFor is the power of two that is next above the number of processors, at most 8.
func partsFor(procs int) int {
	n := 1
	for n < procs && n < 8 {
		n *= 2
	}
	return n
}

// Draw is a cheap random number: it chooses a part of a Histogram, and samples.
func Draw() uint32 { return rand.Uint32() }

// drawOf is a draw made of a duration, cheaper than a random one: it chooses a part, but
// must not sample. The product's upper bits depend on all of its nanoseconds, so that a
// clock with coarse ticks chooses all parts too.
func drawOf(d time.Duration) uint32 { return uint32(uint64(d) * 0x9e3779b97f4a7c15 >> 32) }

// Record counts a duration. draw is a number of Draw; negative durations are 0.
func (h *Histogram) Record(d time.Duration, draw uint32) {
	p := &h.parts[int(draw)&(len(h.parts)-1)]
	p.sum.Add(uint64(max(d, 0)))
	i := indexOf(d)
	o := p.octaves[i/perOctave].Load()
	if o == nil {
		o = p.open(i / perOctave)
	}
	o[i%perOctave].Add(1)
}

func (p *part) open(i int) *octave {
	p.octaves[i].CompareAndSwap(nil, &octave{})
	return p.octaves[i].Load()
}

// steps are the fractions at which the buckets of an octave begin, as the 52 bits
// of a float64 between 1 and 2; the last is beyond all.
var steps = func() (s [perOctave + 1]uint64) {
	for i := range s {
		s[i] = math.Float64bits(math.Exp2(float64(i)/perOctave)) - math.Float64bits(1)
	}
	return s
}()

// guess is, for the upper six bits of a fraction, the bucket of its lowest value.
var guess = func() (g [64]uint8) {
	for i := range g {
		for int(g[i])+1 < perOctave && steps[g[i]+1] <= uint64(i)<<46 {
			g[i]++
		}
	}
	return g
}()

// indexOf is the bucket of a duration.
func indexOf(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	b := math.Float64bits(float64(d) * 1e-9)
	e := int(b>>52) - 1023 - minExp
	if e < 0 {
		return 0
	}
	if e >= octaves {
		return Buckets - 1
	}
	frac := b & (1<<52 - 1)
	i := int(guess[frac>>46])
	// A sixty-fourth of an octave is narrower than a bucket: one step is enough.
	if frac >= steps[i+1] {
		i++
	}
	return e*perOctave + i
}

// Lower is where bucket i begins, in seconds.
func Lower(i int) float64 { return math.Exp2(float64(i)/perOctave + minExp) }

// middle is the geometric middle of bucket i, in seconds.
func middle(i int) float64 { return math.Exp2((float64(i)+0.5)/perOctave + minExp) }

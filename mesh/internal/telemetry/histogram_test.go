package telemetry

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestBucketsAreExponential(t *testing.T) {
	t.Parallel()
	for range 200_000 {
		d := time.Duration(math.Exp(rand.Float64()*math.Log(3600e9))) + 1
		i := indexOf(d)
		s := float64(d) * 1e-9
		if i == 0 && s < Lower(1) {
			continue
		}
		if s < Lower(i)*(1-1e-12) || s >= Lower(i+1)*(1+1e-12) {
			t.Fatalf("%v is in bucket %d, [%g, %g)", d, i, Lower(i), Lower(i+1))
		}
	}
	for _, tt := range []struct {
		d    time.Duration
		want int
	}{{-1, 0}, {0, 0}, {1, 0}, {math.MaxInt64, Buckets - 1}, {time.Second, -minExp * perOctave}} {
		if got := indexOf(tt.d); got != tt.want {
			t.Errorf("%v is in bucket %d, want %d", tt.d, got, tt.want)
		}
	}
}

// The p99 of the exponential form is at most 2 % off, whatever the latencies.
func TestQuantileError(t *testing.T) {
	t.Parallel()
	for name, draw := range map[string]func() float64{
		"lognormal":   func() float64 { return 2e-3 * math.Exp(rand.NormFloat64()) },
		"exponential": func() float64 { return 80e-3 * rand.ExpFloat64() },
		"two modes": func() float64 {
			if rand.Float64() < 0.03 {
				return 0.5 + 0.2*rand.Float64()
			}
			return 300e-6 * (1 + 0.2*rand.Float64())
		},
	} {
		h := NewHistogram()
		var all []time.Duration
		for range 100_000 {
			d := time.Duration(draw()*1e9) + time.Microsecond
			all = append(all, d)
			h.Record(d, Draw())
		}
		slices.Sort(all)
		d := h.Read()
		for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
			want := all[int(math.Ceil(q*float64(len(all))))-1]
			if off := math.Abs(float64(d.Quantile(q)-want)) / float64(want); off > 0.02 {
				t.Errorf("%s: p%g is %v, want %v: %.1f %% off", name, q*100, d.Quantile(q), want, off*100)
			}
		}
	}
}

func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	h := &Histogram{make([]part, 4)}
	var wg sync.WaitGroup
	const each = 5000
	for range 8 {
		wg.Go(func() {
			for i := range each {
				h.Record(time.Duration(i)*time.Microsecond, Draw())
			}
		})
	}
	wg.Wait()
	d := h.Read()
	want := 8 * float64(each) * (each - 1) / 2 * 1e-6
	if d.Count != 8*each || math.Abs(d.Sum-want) > 1e-6 {
		t.Errorf("count %d and sum %g, want %d and %g", d.Count, d.Sum, 8*each, want)
	}
	var classic uint64
	for _, c := range d.Classic(Bounds) {
		classic += c
	}
	if classic != d.Count {
		t.Errorf("the classic form has %d of %d", classic, d.Count)
	}
}

func TestClassicBounds(t *testing.T) {
	t.Parallel()
	h := NewHistogram()
	for _, ms := range []int{3, 3, 30, 20_000} {
		h.Record(time.Duration(ms)*time.Millisecond, 0)
	}
	d := h.Read()
	got := d.Classic([]float64{0.001, 0.005, 0.025, 0.05})
	if want := []uint64{0, 2, 0, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	empty := NewHistogram().Read()
	if empty.Count != 0 || empty.Quantile(0.99) != 0 || len(empty.Counts) != 0 {
		t.Errorf("an empty histogram reads %+v", empty)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	h := NewHistogram()
	for i := range uint32(8) {
		h.Record(time.Millisecond, i)
	}
	if n := testing.AllocsPerRun(1000, func() { h.Record(time.Millisecond, Draw()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	for procs, want := range map[int]int{1: 1, 2: 2, 3: 4, 8: 8, 200: 8} {
		if got := partsFor(procs); got != want {
			t.Errorf("%d processors: %d parts, want %d", procs, got, want)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	h := NewHistogram()
	for b.Loop() {
		h.Record(time.Millisecond, Draw())
	}
}

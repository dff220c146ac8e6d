package telemetry

import (
	"math"
	"time"
)

// Distribution is what a Histogram has counted since its beginning.
type Distribution struct {
	// Counts are the buckets from Offset on; none before and after them is used.
	Counts []uint64
	// Offset is the index of the first bucket, from 0; see Lower.
	Offset int
	// Count is how many durations there were, Sum their sum in seconds.
	Count uint64
	Sum   float64
}

// Read reports the counts.
func (h *Histogram) Read() Distribution {
	var all [Buckets]uint64
	first, last := Buckets, -1
	var d Distribution
	var sum uint64
	for i := range h.parts {
		p := &h.parts[i]
		for e := range p.octaves {
			o := p.octaves[e].Load()
			if o == nil {
				continue
			}
			for k := range o {
				if n := o[k].Load(); n > 0 {
					at := e*perOctave + k
					all[at] += n
					d.Count += n
					first, last = min(first, at), max(last, at)
				}
			}
		}
		sum += p.sum.Load()
	}
	d.Sum = float64(sum) * 1e-9
	if last >= 0 {
		d.Offset, d.Counts = first, append([]uint64(nil), all[first:last+1]...)
	}
	return d
}

// Quantile is the duration that a share q of all does not exceed, the middle of its
// bucket; 0 if there is none.
func (d *Distribution) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(d.Count)))
	var n uint64
	for i, c := range d.Counts {
		if n += c; n >= rank && n > 0 {
			return time.Duration(middle(d.Offset+i) * 1e9)
		}
	}
	return 0
}

// Classic is the distribution in buckets with upper bounds, the last one open. A
// bucket that a bound goes through counts on the side of its middle.
func (d *Distribution) Classic(bounds []float64) []uint64 {
	counts := make([]uint64, len(bounds)+1)
	at := 0
	for i, c := range d.Counts {
		for at < len(bounds) && middle(d.Offset+i) > bounds[at] {
			at++
		}
		counts[at] += c
	}
	return counts
}

package contest

import (
	"encoding/json"
	"math/bits"
	"time"
)

const (
	fine  = 6 // bits: a bucket is at most 1.6 % wide
	lines = (64 - fine) << fine
)

// Histogram counts durations, to 1.6 %. It allocates nothing when it counts.
type Histogram struct{ n [lines]uint32 }

func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 1<<fine {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - fine
	return (shift+1)<<fine + int(v>>shift) - 1<<fine
}

// middle is a duration of the bucket.
func middle(i int) time.Duration {
	if i < 1<<fine {
		return time.Duration(i)
	}
	shift := i>>fine - 1
	low := uint64(i&(1<<fine-1)|1<<fine) << shift
	return time.Duration(low + uint64(1)<<shift/2)
}

// Note counts one.
func (h *Histogram) Note(d time.Duration) { h.n[bucket(d)]++ }

// Add counts all of o.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.n {
		h.n[i] += n
	}
}

// Quantile is 0 of nothing.
func (h *Histogram) Quantile(q float64) time.Duration {
	all := uint64(0)
	for _, n := range h.n {
		all += uint64(n)
	}
	if all == 0 {
		return 0
	}
	rank, seen := uint64(q*float64(all-1)), uint64(0)
	for i, n := range h.n {
		if seen += uint64(n); seen > rank {
			return middle(i)
		}
	}
	return 0
}

// MarshalJSON writes what is not zero.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	sparse := map[int]uint32{}
	for i, n := range h.n {
		if n > 0 {
			sparse[i] = n
		}
	}
	return json.Marshal(sparse)
}

// UnmarshalJSON reads it.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var sparse map[int]uint32
	if err := json.Unmarshal(b, &sparse); err != nil {
		return err
	}
	*h = Histogram{}
	for i, n := range sparse {
		if i >= 0 && i < lines {
			h.n[i] = n
		}
	}
	return nil
}

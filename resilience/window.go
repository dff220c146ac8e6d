package resilience

import (
	"sync/atomic"
	"time"
)

// window counts two kinds of events over the last buckets·width of time. All
// methods are lock-free and lose nothing: a bucket's turn and its two counters
// are one word, so a late writer cannot add to a bucket that was begun anew.
type window struct {
	start   time.Time
	width   time.Duration
	buckets []atomic.Uint64 // turn:16 | a:24 | b:24
}

const (
	countBits = 24
	countMax  = 1<<countBits - 1
	turnShift = 2 * countBits
)

func newWindow(span time.Duration, buckets int) *window {
	return &window{start: time.Now(), width: max(span/time.Duration(buckets), 1), buckets: make([]atomic.Uint64, buckets)}
}

// at is the bucket of now and its turn, 1 to 65535: an unused bucket has turn 0.
func (w *window) at(now time.Duration) (i int, turn uint64) {
	tick, n := uint64(max(now, 0)/w.width), uint64(len(w.buckets))
	return int(tick % n), tick/n%65535 + 1
}

func (w *window) now() time.Duration { return time.Since(w.start) }

// add counts a and b, each 0 or 1. A full bucket is halved, so that ratios stay.
func (w *window) add(now time.Duration, a, b uint64) {
	i, turn := w.at(now)
	cell := &w.buckets[i]
	for {
		old := cell.Load()
		ca, cb := uint64(0), uint64(0)
		if old>>turnShift == turn {
			ca, cb = old>>countBits&countMax, old&countMax
		}
		if ca+a > countMax || cb+b > countMax {
			ca, cb = ca/2, cb/2
		}
		if cell.CompareAndSwap(old, turn<<turnShift|(ca+a)<<countBits|(cb+b)) {
			return
		}
	}
}

// sum is what the window holds now.
func (w *window) sum(now time.Duration) (a, b uint64) {
	here, turn := w.at(now)
	for i := range w.buckets {
		v, want := w.buckets[i].Load(), turn
		if i > here { // written in the round before
			if want--; want == 0 {
				want = 65535
			}
		}
		if v>>turnShift == want {
			a += v >> countBits & countMax
			b += v & countMax
		}
	}
	return a, b
}

// reset forgets everything.
func (w *window) reset() {
	for i := range w.buckets {
		w.buckets[i].Store(0)
	}
}

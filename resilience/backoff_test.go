package resilience

import (
	"testing"
	"time"
)

func TestBackoffBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		b    Backoff
		n    int
		want time.Duration
	}{
		{Backoff{}, 1, 25 * time.Millisecond},
		{Backoff{}, 2, 50 * time.Millisecond},
		{Backoff{}, 6, 800 * time.Millisecond},
		{Backoff{}, 7, time.Second},
		{Backoff{}, 1 << 40, time.Second},
		{Backoff{Base: 3 * time.Second}, 2, 3 * time.Second},
		{Backoff{Base: 1, Cap: 1<<63 - 1}, 200, 1<<63 - 1},
		{Backoff{Base: 10, Cap: 15}, 0, 10},
	} {
		if got := tt.b.Bound(tt.n); got != tt.want {
			t.Errorf("%+v.Bound(%d) = %v, want %v", tt.b, tt.n, got, tt.want)
		}
	}
}

// Full jitter: the whole range is used, and nothing beyond it.
func TestBackoffJitter(t *testing.T) {
	t.Parallel()
	b := Backoff{Base: 100 * time.Millisecond}
	low, high := 0, 0
	for range 1000 {
		d := b.Delay(1)
		if d < 0 || d > b.Base {
			t.Fatalf("delay %v is out of range", d)
		}
		if d < b.Base/4 {
			low++
		}
		if d > b.Base*3/4 {
			high++
		}
	}
	if low < 150 || high < 150 {
		t.Errorf("of 1000 delays, %d are in the lowest quarter and %d in the highest", low, high)
	}
}

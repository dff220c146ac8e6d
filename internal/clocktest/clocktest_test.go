package clocktest

import (
	"testing"
	"time"
)

func TestShift(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, d := range append(Jumps(), 0) {
		moved := Shift(now, d)
		if moved.Sub(now) != 0 || Strip(moved).Sub(Strip(now)) != d || d != 0 && moved.Unix() == now.Unix() {
			t.Errorf("%v: %v became %v", d, now, moved)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a time without a monotonic reading was moved")
		}
	}()
	Shift(Strip(now), time.Hour)
}

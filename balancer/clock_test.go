package balancer

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/clocktest"
)

// Drill D19: when ejections and closed clouds end does not follow a wall clock that
// jumps, nor does slow start.
func TestWallClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range clocktest.Jumps() {
		until := clocktest.Shift(time.Now().Add(time.Minute), jump)
		before := Now() + int64(time.Minute)
		if at := stamp(until); at < before-int64(30*time.Second) || at > before+int64(30*time.Second) {
			t.Errorf("the wall clock jumped by %v, and an ejection of a minute ends in %v", jump, time.Duration(at-Now()))
		}
		s := &Store{}
		s.CloseCloud("pay", "aws", until)
		if left := time.Until(s.closedUntil("pay", "aws")); left < 30*time.Second || left > time.Minute {
			t.Errorf("the wall clock jumped by %v, and a cloud that was closed for a minute is for %v", jump, left)
		}
		now := time.Now()
		b := &Balancer{now: clocktest.Shift(now, jump).Add(10 * time.Second)}
		b.cfg.SlowStart = 20 * time.Second
		if f := b.rampOf(&Node{rampFrom: now}); f != 0.5 {
			t.Errorf("the wall clock jumped by %v, and half of slow start is %v", jump, f)
		}
		p := &spill{}
		p.usable(1, time.Minute, now)
		p.usable(0.5, time.Minute, now)                                  // lost half
		first, _ := p.usable(1, time.Minute, now)                        // and has it back
		again, _ := p.usable(1, time.Minute, clocktest.Shift(now, jump)) // not at once
		if first != again {
			t.Errorf("the wall clock jumped by %v, and failback went from %v to %v", jump, first, again)
		}
	}
}

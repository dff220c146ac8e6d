package resolver

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/clocktest"
)

// Drill D19: what is held, and the age of what is known, do not follow a wall clock
// that jumps between two looks.
func TestWallClockJumps(t *testing.T) {
	t.Parallel()
	const hold, ahead = 5 * time.Minute, 10 * time.Second
	for _, jump := range clocktest.Jumps() {
		began := time.Now()
		in := func(d time.Duration) time.Time { return clocktest.Shift(began, jump).Add(d) }
		k := &keeper{service: "pay", hold: hold, fraction: 0.5, event: func(string, ...any) {}}
		k.take(&Snapshot{Service: "pay", State: Known, AsOf: began, Endpoints: []*Endpoint{{ID: ID{Instance: "1"}, Addr: "10.0.0.1:1"}}}, began)
		k.take(&Snapshot{Service: "pay", State: Known, AsOf: in(ahead)}, began) // empty: held
		if d, ok := k.next(in(ahead)); !ok || d != hold-ahead {
			t.Errorf("the wall clock jumped by %v, and a hold of %v has %v left after %v", jump, hold, d, ahead)
		}
		if k.tick(in(hold - ahead)) {
			t.Errorf("the wall clock jumped by %v, and the hold is over early", jump)
		}
		if !k.tick(in(hold)) || len(k.snapshot().Endpoints) != 0 {
			t.Errorf("the wall clock jumped by %v, and the hold is not over", jump)
		}
		// Staleness counts from when it began.
		k.take(&Snapshot{Service: "pay", State: Stale, StaleSince: in(hold)}, in(hold))
		if age := began.Add(hold + time.Minute).Sub(k.snapshot().StaleSince); age != time.Minute {
			t.Errorf("the wall clock jumped by %v, and what is stale for a minute counts as %v", jump, age)
		}
		if at := earliest(in(time.Second), began); !at.Equal(began) {
			t.Errorf("the wall clock jumped by %v, and the later of two answers counts as the earlier", jump)
		}
	}
}

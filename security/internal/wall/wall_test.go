package wall

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/clocktest"
)

func TestUntil(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tc := range []struct {
		at   time.Time
		want time.Duration
	}{
		{now, 0},
		{now.Add(-time.Hour), 0},
		{now.Add(30 * time.Second), 30 * time.Second},
		{now.Add(time.Hour), nap},
		{clocktest.Strip(now.Add(30 * time.Second)), 30 * time.Second},
		// The wall clock jumped since: it decides, not the monotonic one.
		{clocktest.Shift(now.Add(30*time.Second), -time.Hour), 0},
		{clocktest.Shift(now.Add(-30*time.Second), time.Hour), nap},
	} {
		if d := until(tc.at, now); d != tc.want {
			t.Errorf("until %v, it being %v: %v, want %v", tc.at, now, d, tc.want)
		}
	}
}

// A jump of the wall clock is noticed within a minute, in both directions.
func TestWait(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		jump      time.Duration // 10 min after the beginning
		least, at time.Duration // it ends, of the time that passes
	}{
		{"none", 0, time.Hour, time.Hour},
		{"an hour ahead", time.Hour, 10 * time.Minute, 11 * time.Minute},
		{"half an hour ahead", 30 * time.Minute, 30 * time.Minute, 30 * time.Minute},
		{"an hour back", -time.Hour, 2 * time.Hour, 2 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				now := func() time.Time {
					if time.Since(began) > 10*time.Minute {
						return time.Now().Add(tc.jump)
					}
					return time.Now()
				}
				if !wait(began.Add(time.Hour), nil, nil, now) {
					t.Error("it was disturbed")
				}
				if took := time.Since(began); took < tc.least || took > tc.at {
					t.Errorf("it took %v, want %v to %v", took, tc.least, tc.at)
				}
			})
		})
	}
	closed := make(chan struct{})
	close(closed)
	if Wait(time.Now().Add(time.Hour), closed, nil) || Wait(time.Now().Add(time.Hour), nil, closed) {
		t.Error("it came though the wait was ended")
	}
}

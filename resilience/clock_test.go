package resilience

import (
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/clocktest"
)

// Drill D19: ejections, and what is remembered of endpoints, do not follow a wall clock
// that jumps.
func TestWallClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range clocktest.Jumps() {
		o, err := NewOutlier(OutlierConfig{BaseEjection: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		in := func(d time.Duration) time.Time { return clocktest.Shift(time.Now(), jump).Add(d) }
		a, b := o.Host("a", "z", &ejectee{}), o.Host("b", "z", &ejectee{})
		defer a.Leave()
		defer b.Leave()
		if o.slowCalls(in(0)) {
			t.Error("calls are slow before there was one")
		}
		a.mute.Store(2)
		a.spoke(a.calls.now()) // an answer ends a row of silence
		if !o.slowCalls(in(0)) {
			t.Errorf("the wall clock jumped by %v, and what was just seen is forgotten", jump)
		}
		if o.slowCalls(in(o.cfg.Window + time.Second)) {
			t.Errorf("the wall clock jumped by %v, and what is long past is not forgotten", jump)
		}
		began := time.Now()
		o.mu.Lock()
		o.eject(a, in(0), func() string { return "the test says so" })
		lasts, want := a.until.Sub(began), a.lastFor // a minute with jitter
		o.takeBack(in(want - 10*time.Second))
		early := a.until.IsZero()
		o.takeBack(in(want + 10*time.Second))
		late := !a.until.IsZero()
		o.unlock()
		if lasts < want || lasts > want+10*time.Second || early || late {
			t.Errorf("the wall clock jumped by %v: the ejection lasts %v of %v, is taken back early %v, is not taken back %v", jump, lasts, want, early, late)
		}
	}
}

type ejectee struct{}

func (*ejectee) Eject(time.Time)   {}
func (*ejectee) Degrade(time.Time) {}

// A date in Retry-After is of the server's clock, and so is what it is compared with.
func TestRetryAfterDateIsOfTheServersClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, time.Hour, -time.Hour} {
		sent := time.Now().Add(skew)
		resp := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{
			"Date":        {sent.UTC().Format(http.TimeFormat)},
			"Retry-After": {sent.Add(4 * time.Second).UTC().Format(http.TimeFormat)},
		}}
		if o := FromHTTP(resp, nil, false); o.RetryAfter != 4*time.Second {
			t.Errorf("a server whose clock is off by %v says 4 s: taken for %v", skew, o.RetryAfter)
		}
	}
}

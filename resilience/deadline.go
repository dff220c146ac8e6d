package resilience

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// TimeoutKey is the HTTP header with the time that the caller still gives to a
// request, in the syntax of gRPC's header grpc-timeout: up to eight digits and a
// unit, "250m" for 250 ms. It is relative, so that clocks need not agree; an
// [HTTPClient] rounds it up, by 1 % or 10 ms at most, so that few values are sent. A
// server at a trust border removes it: whoever may set it can make calls fail.
const TimeoutKey = "weft-timeout"

// Errors of a [DeadlineGate].
var (
	ErrDeadlinePassed = errors.New("resilience: the request's deadline has passed")
	ErrDeadlineShort  = errors.New("resilience: too little of the request's time is left to serve it")
)

// errSlowHere is within those ErrDeadlineShort that blame this server, and not the
// request: another one may be faster.
var errSlowHere = errors.New("half of the calls take more")

const maxTimeoutDigits = 8

// FormatTimeout writes a time as in [TimeoutKey], rounded up to the unit that
// needs no more than eight digits. What is not positive is one nanosecond.
func FormatTimeout(d time.Duration) string {
	const most = 99_999_999
	for _, u := range [...]struct {
		unit time.Duration
		name byte
	}{{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}} {
		n := max(1, int64((d-1)/u.unit)+1)
		if n <= most {
			var buf [maxTimeoutDigits + 1]byte
			return string(append(strconv.AppendInt(buf[:0], n, 10), u.name))
		}
	}
	return strconv.FormatInt(int64(d/time.Hour), 10) + "H"
}

// ParseTimeout reads a time as in [TimeoutKey]. What cannot be read is not ok;
// what is longer than a Duration is the longest one.
func ParseTimeout(s string) (d time.Duration, ok bool) {
	if len(s) < 2 || len(s) > maxTimeoutDigits+1 {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'n':
		unit = time.Nanosecond
	case 'u':
		unit = time.Microsecond
	case 'm':
		unit = time.Millisecond
	case 'S':
		unit = time.Second
	case 'M':
		unit = time.Minute
	case 'H':
		unit = time.Hour
	default:
		return 0, false
	}
	n := int64(0)
	for i := range len(s) - 1 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	if n > int64(NoTimeout/unit) {
		return NoTimeout, true
	}
	return time.Duration(n) * unit, true
}

// DeadlineConfig is what a [DeadlineGate] refuses. The zero value refuses what is
// too late, and what the method needs more time for than is left.
type DeadlineConfig struct {
	// Min is the least time that must be left; zero: 1 ms.
	Min time.Duration
	// FixedOnly leaves out the method's own time: only Min counts. False (the
	// default): a request is also refused if less is left than half of the method's
	// calls took lately.
	FixedOnly bool
}

// DeadlineGate is a server's gate that refuses work whose result nobody waits
// for: the deadline has passed, or would before the work is done.
type DeadlineGate struct {
	cfg  DeadlineConfig
	seen latencies
	last atomic.Int64 // when a request was let in that the method's time was against
	base time.Time
}

// NewDeadlineGate makes a gate. The error names the field that makes no sense.
func NewDeadlineGate(cfg DeadlineConfig) (*DeadlineGate, error) {
	if cfg.Min < 0 {
		return nil, fmt.Errorf("resilience: DeadlineConfig.Min is %v: it must not be negative", cfg.Min)
	}
	if cfg.Min == 0 {
		cfg.Min = time.Millisecond
	}
	return &DeadlineGate{cfg: cfg, base: time.Now()}, nil
}

// probeEvery is how often a request is let in against the method's time, so that
// a method that has become fast again is noticed.
const probeEvery = time.Second

// Enter implements [Gate]. The error is ErrDeadlinePassed or ErrDeadlineShort.
func (g *DeadlineGate) Enter(ctx context.Context, in *Info) (func(Outcome), error) {
	e, err := g.enter(ctx, in.Method, in.Stream)
	if err != nil {
		return nil, err
	}
	return e.done, nil
}

// entry is a request that was let in. It is a value, because a function would be
// an allocation for each request.
type entry struct {
	seen  *latency // nil: nobody asks how long it takes
	start time.Time
}

func (e entry) done(o Outcome) {
	if e.seen != nil && o.Class == Success {
		e.took(time.Since(e.start), o)
	}
}

// took is done for who has read the clock.
func (e entry) took(d time.Duration, o Outcome) {
	if e.seen != nil && o.Class == Success {
		e.seen.record(d)
	}
}

// enter may be called on nil, which lets everything in.
func (g *DeadlineGate) enter(ctx context.Context, method string, stream bool) (entry, error) {
	if g == nil {
		return entry{}, nil
	}
	return g.enterAt(ctx, ctx, method, stream, time.Now())
}

// enterAt is enter for who has read the clock; parent is a context whose Err does not.
func (g *DeadlineGate) enterAt(ctx, parent context.Context, method string, stream bool, now time.Time) (entry, error) {
	if g == nil {
		return entry{}, nil
	}
	end, has := ctx.Deadline()
	e := entry{start: now}
	if !stream && !g.cfg.FixedOnly {
		e.seen = g.seen.of(method)
	}
	if has {
		left := end.Sub(e.start)
		switch {
		case left <= 0 || errors.Is(parent.Err(), context.DeadlineExceeded):
			return e, ErrDeadlinePassed
		case left < g.cfg.Min:
			return e, fmt.Errorf("%w: %v left, at least %v asked for", ErrDeadlineShort, left, g.cfg.Min)
		case e.seen != nil && left < e.seen.p50() && !g.probe(e.start):
			return e, fmt.Errorf("%w: %v left, %w than %v", ErrDeadlineShort, left, errSlowHere, e.seen.p50())
		}
	}
	return e, nil
}

func (g *DeadlineGate) probe(now time.Time) bool {
	t := int64(now.Sub(g.base))
	last := g.last.Load()
	return t-last >= int64(probeEvery) && g.last.CompareAndSwap(last, t)
}

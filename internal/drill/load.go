package drill

import (
	"context"
	"sync"
	"time"
)

// Load is an open loop: requests begin at a fixed rate, whatever becomes of those
// before.
type Load struct {
	// Rate is in requests per second; zero: none.
	Rate float64
	// Length is for how long; zero: not at all.
	Length time.Duration
	// Deadline is the time that each request has from when it is due; zero: 1 s.
	Deadline time.Duration
	// Next is the kind of request i, from 0, and whether it may be done twice; nil: all
	// are "unary" and may.
	Next func(i int) (kind string, safe bool)
	// Do makes a request; it is required.
	Do func(ctx context.Context, r *Request) error
}

// Open makes the requests and waits for them.
func Open(ctx context.Context, l *Ledger, load Load) {
	if load.Deadline == 0 {
		load.Deadline = time.Second
	}
	from := l.Now()
	var wg sync.WaitGroup
	for i := range int(load.Rate * load.Length.Seconds()) {
		due := from + time.Duration(float64(i)/load.Rate*float64(time.Second))
		if wait := due - l.Now(); wait > 0 {
			time.Sleep(wait)
		}
		kind, safe := "unary", true
		if load.Next != nil {
			kind, safe = load.Next(i)
		}
		r := l.Add(kind, safe, due, due+load.Deadline)
		wg.Go(func() {
			ctx, cancel := context.WithDeadline(context.WithValue(ctx, requestKey{}, r), l.begin.Add(r.Deadline))
			defer cancel()
			l.end(r, load.Do(ctx, r))
		})
	}
	wg.Wait()
}

type requestKey struct{}

// RequestFrom is the request that ctx belongs to, or nil.
func RequestFrom(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

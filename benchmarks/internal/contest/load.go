package contest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Load is what the client process did in a slice.
type Load struct {
	Calls int64
	Took  time.Duration
	Lat   *Histogram
	Error string `json:",omitempty"`
}

// run loads with one client.
func run(ctx context.Context, c *Client, o Order) (Load, error) {
	// A deadline as callers should have one; without it weft would add its own, and
	// bare would go without.
	ctx, cancel := context.WithTimeout(ctx, o.For+10*time.Second)
	defer cancel()
	calls := make([]Call, o.Callers)
	for i := range calls {
		if !o.Stream {
			calls[i] = c.Caller()
			continue
		}
		var err error
		if calls[i], err = c.Stream(ctx); err != nil {
			return Load{}, err
		}
		if err := calls[i](ctx); err != nil { // the stream is there
			return Load{}, err
		}
	}
	var (
		wg   sync.WaitGroup
		all  atomic.Int64
		turn atomic.Int64
		fail atomic.Pointer[error]
		lats = make([]Histogram, o.Callers)
	)
	start := time.Now()
	for i, call := range calls {
		wg.Go(func() {
			n := int64(0)
			defer func() { all.Add(n) }()
			for t := start; ; {
				if o.Rate > 0 {
					t = start.Add(time.Duration(float64(turn.Add(1)-1) / o.Rate * float64(time.Second)))
				}
				if t.Sub(start) >= o.For {
					return
				}
				if o.Rate > 0 {
					time.Sleep(time.Until(t))
				}
				if err := call(ctx); err != nil {
					fail.Store(&err)
					return
				}
				n++
				now := time.Now()
				lats[i].Note(now.Sub(t))
				t = now
			}
		})
	}
	wg.Wait()
	l := Load{Calls: all.Load(), Took: time.Since(start), Lat: &Histogram{}}
	if e := fail.Load(); e != nil {
		return l, *e
	}
	for i := range lats {
		l.Lat.Add(&lats[i])
	}
	return l, nil
}

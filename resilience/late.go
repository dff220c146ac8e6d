package resilience

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lateContext is a context.WithDeadline that makes its timer when somebody first waits
// for it: most handlers never do, and need nothing but to know the time.
type lateContext struct {
	context.Context           // the parent
	end             time.Time // zero: that of the parent

	over   atomic.Bool
	waited atomic.Pointer[waitedContext] // nil: nobody waits
	mu     sync.Mutex
}

// waitedContext is what those who wait have got.
type waitedContext struct {
	context.Context
	cancel context.CancelFunc
}

// limit gives the context a deadline, before anybody has it. End it with leave.
func (c *lateContext) limit(end time.Time) {
	if of, has := c.Context.Deadline(); !has || end.Before(of) {
		c.end = end
	}
}

// leave ends the context.
func (c *lateContext) leave() {
	if c.end.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over.Store(true)
	if w := c.waited.Load(); w != nil {
		w.cancel()
	}
}

func (c *lateContext) wait() context.Context {
	if w := c.waited.Load(); w != nil {
		return w
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waited.Load()
	if w == nil {
		ctx, cancel := context.WithDeadline(c.Context, c.end)
		if w = (&waitedContext{ctx, cancel}); c.over.Load() {
			cancel()
		}
		c.waited.Store(w)
	}
	return w
}

// Deadline implements context.Context.
func (c *lateContext) Deadline() (time.Time, bool) {
	if c.end.IsZero() {
		return c.Context.Deadline()
	}
	return c.end, true
}

// Done implements context.Context.
func (c *lateContext) Done() <-chan struct{} {
	if c.end.IsZero() {
		return c.Context.Done()
	}
	return c.wait().Done()
}

// Err implements context.Context. It agrees with Done, whoever asks first.
func (c *lateContext) Err() error {
	switch {
	case c.end.IsZero():
		return c.Context.Err()
	case c.waited.Load() == nil && !c.over.Load() && time.Now().Before(c.end):
		return c.Context.Err()
	}
	return c.wait().Err()
}

// late reports whether the deadline had passed at a time that is about now.
func (c *lateContext) late(now time.Time) bool {
	end, has := c.Deadline()
	return has && !now.Before(end) || c.Context.Err() == context.DeadlineExceeded
}

// Value implements context.Context. Who makes a context of this one has asked for Done
// before, and finds in what is waited for the one that ends it.
func (c *lateContext) Value(key any) any {
	if w := c.waited.Load(); w != nil {
		return w.Value(key)
	}
	return c.Context.Value(key)
}

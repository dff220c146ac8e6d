package resilience

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type lateKey struct{}

// late is a lateContext of a parent, with the same deadline as ctx, as it should behave.
func late(parent context.Context, d time.Duration) (*lateContext, context.Context, context.CancelFunc) {
	c := &lateContext{Context: parent}
	c.limit(time.Now().Add(d))
	ctx, cancel := context.WithTimeout(parent, d)
	return c, ctx, func() { c.leave(); cancel() }
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A lateContext is as context.WithTimeout, whatever is asked first and when.
func TestLateContext(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(parent, own context.CancelFunc){
		"nothing":           func(_, _ context.CancelFunc) {},
		"the parent ends":   func(parent, _ context.CancelFunc) { parent() },
		"the handler ends":  func(_, own context.CancelFunc) { own() },
		"the deadline":      func(_, _ context.CancelFunc) { time.Sleep(time.Second) },
		"the handler, late": func(_, own context.CancelFunc) { time.Sleep(time.Second + 1); synctest.Wait(); own() },
		"a while":           func(_, _ context.CancelFunc) { time.Sleep(999 * time.Millisecond) },
	} {
		for _, before := range []bool{true, false} { // somebody waits before it happens
			for _, limits := range []time.Duration{0, time.Minute, time.Millisecond} { // of the parent
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancel(context.WithValue(t.Context(), lateKey{}, 1))
					defer cancel()
					if limits > 0 {
						var stop context.CancelFunc
						parent, stop = context.WithTimeout(parent, limits)
						defer stop()
					}
					c, want, own := late(parent, time.Second)
					defer own()
					if before {
						c.Done()
					}
					happens(cancel, own)
					synctest.Wait()
					gotEnd, gotHas := c.Deadline()
					wantEnd, wantHas := want.Deadline()
					if !gotEnd.Equal(wantEnd) || gotHas != wantHas {
						t.Errorf("%s: the deadline is %v, %v; want %v, %v", name, gotEnd, gotHas, wantEnd, wantHas)
					}
					if limits == time.Millisecond && name == "the handler ends" {
						return // net/http ends the parent itself
					}
					got := context.Cause(c)
					if c.Err() != want.Err() || got != context.Cause(want) || closed(c.Done()) != closed(want.Done()) {
						t.Errorf("%s, %v, %v: %v, cause %v, closed %v; want %v, %v, %v", name, before, limits, c.Err(), got, closed(c.Done()), want.Err(), context.Cause(want), closed(want.Done()))
					}
					if c.Value(lateKey{}) != 1 {
						t.Error("the parent's values are lost")
					}
				})
			}
		}
	}
}

// Contexts that are made of it end with it, and take no goroutine to do so.
func TestLateContextHasChildren(t *testing.T) { // not parallel: it counts goroutines
	synctest.Test(t, func(t *testing.T) {
		c, _, own := late(t.Context(), time.Second)
		defer own()
		before := runtime.NumGoroutine()
		var all []context.Context
		for range 100 {
			child, cancel := context.WithCancel(c)
			defer cancel()
			all = append(all, child)
		}
		if n := runtime.NumGoroutine() - before; n > 50 {
			t.Errorf("%d goroutines for 100 children", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, child := range all {
			if !errors.Is(child.Err(), context.DeadlineExceeded) {
				t.Fatalf("a child's error is %v", child.Err())
			}
		}
	})
}

func TestLateContextAtTheSameTime(t *testing.T) {
	t.Parallel()
	for range 100 {
		c, _, own := late(t.Context(), time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { <-c.Done() })
		wg.Go(func() { _ = c.Err(); _ = c.Value(lateKey{}) })
		wg.Go(own)
		wg.Wait()
		if c.Err() != context.Canceled {
			t.Fatalf("it ended with %v", c.Err())
		}
	}
}

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weft-mesh/weft/mesh"
)

// users are callers with a name, who call one after the other without a pause. They
// see a change of the weights first, and see whether somebody is moved without need.
type users struct {
	call  caller
	names []string
	end   context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	at     map[string]string // the version of a user
	rounds int               // of all users
	marked bool
	moved  map[string]string // since mark: where users were before
	first  time.Time         // since mark: the end of the first call that moved
	odd    int               // moves that no change explains
	err    error             // of the first call that failed
	allow  bool              // broken answers are expected
}

func startUsers(ctx context.Context, call caller, n int) *users {
	u := &users{call: call, at: map[string]string{}, moved: map[string]string{}}
	for i := range n {
		u.names = append(u.names, fmt.Sprintf("user-%d", i))
	}
	ctx, u.end = context.WithCancel(ctx)
	u.wg.Go(func() {
		for ctx.Err() == nil {
			for _, name := range u.names {
				u.one(ctx, name)
			}
			u.mu.Lock()
			u.rounds++
			u.mu.Unlock()
		}
	})
	return u
}

func (u *users) one(ctx context.Context, name string) {
	cctx, cancel := context.WithTimeout(mesh.WithHashKey(context.WithoutCancel(ctx), name), callTimeout)
	defer cancel()
	version, err := u.call(cctx)
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		if b, ok := err.(*broken); (!ok || !u.allow || b.version != "v2") && u.err == nil {
			u.err = fmt.Errorf("%s: %w", name, err)
		}
		return
	}
	was := u.at[name]
	u.at[name] = version
	switch {
	case was == "" || was == version:
	case !u.marked:
		u.odd++
	case u.moved[name] != "":
		u.odd++ // once is enough
	default:
		u.moved[name] = was
		if u.first.IsZero() {
			u.first = now
		}
	}
}

// mark begins to expect moves.
func (u *users) mark() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.marked, u.moved, u.first = true, map[string]string{}, time.Time{}
}

// settled ends it after each user called twice, and returns when the first one moved,
// and those who moved with where they had been.
func (u *users) settled(ctx context.Context) (first time.Time, moved map[string]string, err error) {
	u.mu.Lock()
	from := u.rounds
	u.mu.Unlock()
	err = eventually(ctx, "a user moves", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return !u.first.IsZero() && u.rounds >= from+3 || u.err != nil
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	u.marked = false
	if u.err != nil {
		err = u.err
	}
	return u.first, u.moved, err
}

// where is the version of each user.
func (u *users) where() map[string]string {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := map[string]string{}
	for k, v := range u.at {
		all[k] = v
	}
	return all
}

// known waits until each user has called.
func (u *users) known(ctx context.Context) error {
	u.mu.Lock()
	from := u.rounds
	u.mu.Unlock()
	return eventually(ctx, "each user has called", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.rounds >= from+2 || u.err != nil
	})
}

func (u *users) set(f func(*users)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(u)
}

// verdict is what went wrong until now.
func (u *users) verdict() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return u.err
	}
	if u.odd > 0 {
		return fmt.Errorf("users were moved %d times without a change", u.odd)
	}
	return nil
}

func (u *users) stop() {
	u.end()
	u.wg.Wait()
}

// eventually polls for something that other goroutines do.
func eventually(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/weft-mesh/weft/examples/internal/scene"
	"github.com/weft-mesh/weft/mesh"
)

// story is what happens, in its order.
type story struct {
	*scene.Scene
	pace   pace
	write  writer
	m      *mesh.Mesh
	v2     *release
	events *events
	tally  tally
	users  map[string]*users // by kind
	took   []time.Duration   // of the changes
}

func (s *story) tell(ctx context.Context) error {
	all, err := callers(s.m)
	if err != nil {
		return err
	}
	for kind, call := range all {
		cctx, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := call(cctx)
		cancel()
		if err != nil {
			return fmt.Errorf("first %s call: %w", kind, err)
		}
	}
	s.tally.reset()
	s.Start(ctx, s.pace.callers, s.tally.calls(all))
	defer s.Stop()
	for kind, call := range all {
		u := startUsers(ctx, call, s.pace.users)
		defer u.stop()
		s.users[kind] = u
		if err := u.known(ctx); err != nil {
			return err
		}
	}
	s.Say("checkout joined: %d callers of each kind without a key, and %d users with one, who stay where they are", s.pace.callers, s.pace.users)
	if err := s.steady(ctx, 5); err != nil {
		return err
	}
	first := s.where()
	if err := s.change(ctx, 50, "v1"); err != nil {
		return err
	}
	if err := s.change(ctx, 5, "v2"); err != nil {
		return err
	}
	for kind, was := range first {
		if now := s.users[kind].where(); !maps.Equal(was, now) {
			return fmt.Errorf("%s: users are not where they were at 5 %% before", kind)
		}
	}
	s.Say("each user is where he was at 5 %% before")
	if err := s.change(ctx, 20, "v1"); err != nil {
		return err
	}
	out, err := s.bad(ctx)
	if err != nil {
		return err
	}
	s.Stop()
	calls, failed := s.Board.Totals()
	if failed > 0 {
		return fmt.Errorf("%d of %d calls failed, the last with: %w", failed, calls, s.Board.LastError())
	}
	for _, u := range s.users {
		u.stop()
		if err := u.verdict(); err != nil {
			return err
		}
	}
	var slowest time.Duration
	for _, d := range s.took {
		slowest = max(slowest, d)
	}
	fmt.Printf("canary: ok calls=%d failed=0 changes=%d followed-within=%dms bad-answers=%d taken-out-after=%dms\n",
		calls, len(s.took), slowest.Milliseconds(), s.tally.broken.Load(), out.Milliseconds())
	return nil
}

func (s *story) where() map[string]map[string]string {
	all := map[string]map[string]string{}
	for kind, u := range s.users {
		all[kind] = u.where()
	}
	return all
}

// steady counts calls and compares the share of v2.
func (s *story) steady(ctx context.Context, percent float32) error {
	s.tally.reset()
	enough := func() bool { return s.tally.has(s.pace.draws) || ctx.Err() != nil }
	if !s.Watch(0, 2*time.Minute, enough) {
		return errors.New("the callers make no calls")
	}
	text, err := s.tally.judge(float64(percent)/100, s.pace.callers)
	s.Say("v2 gets %s; written: %v %%", text, percent)
	return errors.Join(err, ctx.Err())
}

// change writes the share of v2 and waits until it is followed. Only users of version
// from may move.
func (s *story) change(ctx context.Context, percent float32, from string) error {
	for _, kind := range []string{"gRPC", "HTTP"} {
		u := s.users[kind]
		u.mark()
		began := time.Now()
		if err := s.write.split(services[kind], percent); err != nil {
			return err
		}
		first, moved, err := u.settled(ctx)
		if err != nil {
			return err
		}
		for name, was := range moved {
			if was != from {
				return fmt.Errorf("%s: %s was moved from %s, though its share grew", kind, name, was)
			}
		}
		s.took = append(s.took, first.Sub(began))
		s.Say("%s: v2 gets %v %% from now on; the first call followed %.1f ms after the write; %d of %d users moved, all from %s",
			services[kind], percent, float64(first.Sub(began).Microseconds())/1000, len(moved), s.pace.users, from)
	}
	return s.steady(ctx, percent)
}

// bad breaks v2, sees it taken out, mends it, and sees it return.
func (s *story) bad(ctx context.Context) (out time.Duration, err error) {
	s.tally.allow.Store(true)
	for _, u := range s.users {
		u.mark()
		u.set(func(u *users) { u.allow = true })
	}
	s.Say("every second answer of v2 is an error from now on")
	began := time.Now()
	s.v2.broken.Store(true)
	if err := eventually(ctx, "both services have lost v2", func() bool { return s.shares(0) }); err != nil {
		return 0, err
	}
	out = time.Since(began)
	if !s.events.everywhere("canary.taken_out") {
		return 0, errors.New("v2 was taken out without an event")
	}
	s.Say("v2 was taken out %v after it broke; %d bad answers without a key until then", out.Round(time.Millisecond), s.tally.broken.Load())
	s.v2.broken.Store(false)
	for kind, u := range s.users { // those of v2 moved away, or will have when they have called
		if _, moved, err := u.settled(ctx); err != nil {
			return 0, err
		} else if len(moved) == 0 {
			return 0, fmt.Errorf("%s: no user left v2", kind)
		}
		u.set(func(u *users) { u.allow = false })
		u.mark()
	}
	s.tally.allow.Store(false)
	s.Say("v2 is mended; it stays out for a while, and then returns in steps")
	if !s.Watch(0, time.Minute, func() bool { return s.shares(1) || ctx.Err() != nil }) {
		return 0, errors.New("v2 did not return")
	}
	for kind, u := range s.users {
		if _, _, err := u.settled(ctx); err != nil {
			return 0, fmt.Errorf("%s: after the return: %w", kind, err)
		}
	}
	return out, s.steady(ctx, 20)
}

// shares reports whether the guards leave v2 so much of its weight in both services.
func (s *story) shares(share float64) bool {
	n := 0
	for _, r := range s.m.Routes() {
		for _, b := range r.Guard {
			if !b.Baseline && b.Share == share {
				n++
			}
		}
	}
	return n == len(services)
}

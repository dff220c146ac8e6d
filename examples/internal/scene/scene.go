package scene

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Call makes one call that is safe to repeat and says which cloud answered.
type Call func(ctx context.Context) (cloud string, err error)

// Scene runs callers and tells the story.
type Scene struct {
	Board *Board
	live  bool
	start time.Time
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// New makes a scene; the table is redrawn in place if standard output is a terminal.
func New(kinds, clouds []string) *Scene {
	info, err := os.Stdout.Stat()
	return &Scene{
		Board: NewBoard(kinds, clouds),
		live:  err == nil && info.Mode()&os.ModeCharDevice != 0,
		start: time.Now(),
	}
}

// Say prints one line of the story with the time since the start.
func (s *Scene) Say(format string, args ...any) {
	s.Board.Still()
	fmt.Printf("%6.2fs  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// Start begins callers of each kind that call one after the other, with a short
// pause, until Stop.
func (s *Scene) Start(ctx context.Context, callers int, calls map[string]Call) {
	ctx, s.stop = context.WithCancel(ctx)
	for kind, call := range calls {
		for range callers {
			s.wg.Go(func() { s.caller(ctx, kind, call) })
		}
	}
}

// callTimeout bounds a call. No scene is about how long one takes.
const callTimeout = 20 * time.Second

func (s *Scene) caller(ctx context.Context, kind string, call Call) {
	pause := time.NewTicker(4 * time.Millisecond)
	defer pause.Stop()
	for {
		// The call itself is not cut by the end of the scene, nor by a machine that
		// stalls for seconds.
		tctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		cloud, err := call(tctx)
		cancel()
		if err == nil {
			s.Board.Answered(kind, cloud)
		} else {
			s.Board.Failed(err)
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the callers and waits for their last calls.
func (s *Scene) Stop() {
	s.stop()
	s.wg.Wait()
}

// Watch draws the table until done is true, at least for atLeast, at most for
// atMost, and reports whether done became true.
func (s *Scene) Watch(atLeast, atMost time.Duration, done func() bool) bool {
	begin := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	ok := false
	for {
		since := time.Since(begin)
		ok = since >= atLeast && done()
		if s.live || ok || since > atMost {
			s.Board.Draw(os.Stdout, s.live)
		}
		if ok || since > atMost {
			s.Board.Still()
			return ok
		}
		<-tick.C
	}
}

// At is a condition for Watch: of the calls of the last second, and there are
// some, 95 % or more went to cloud.
func (s *Scene) At(cloud string) func() bool {
	return func() bool {
		share, calls := s.Board.Share(cloud)
		return calls > 50 && share >= 0.95
	}
}

// Failover calls kill, which ends cloud, and returns a function that tells how
// long after it calls had moved: other clouds answer, and no attempt fails any more.
func (s *Scene) Failover(cloud string, kill func()) func() time.Duration {
	s.Board.Mark(cloud)
	start := time.Now()
	kill()
	return func() time.Duration { return s.Board.Moved().Sub(start).Round(time.Millisecond) }
}

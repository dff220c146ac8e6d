package consul

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// recoverSpread spreads the watches that an end of an outage wakes.
	recoverSpread = 250 * time.Millisecond
	// lonely is how long a watch waits for another one's probe.
	lonely = 3 * backoffMax
)

// source is what the watches of one catalog share of an outage: one of them
// probes, the others wait for it.
type source struct {
	log   *slog.Logger
	where string
	probe chan struct{} // holds the prober's token

	mu        sync.Mutex
	lost      bool
	failures  int
	recovered chan struct{} // closed and replaced when the source answers again
}

func newSource(log *slog.Logger, where string) *source {
	return &source{log: log, where: where, probe: make(chan struct{}, 1), recovered: make(chan struct{})}
}

// ok notes an answer.
func (s *source) ok() {
	s.mu.Lock()
	was := s.lost
	s.failures = 0
	if was {
		s.lost = false
		close(s.recovered)
		s.recovered = make(chan struct{})
	}
	s.mu.Unlock()
	if was {
		s.log.Info("registry.connected", "address", s.where)
	}
}

// fail notes a failure that concerns the source; probed says that the prober met it.
func (s *source) fail(err error, probed bool) {
	s.mu.Lock()
	was := s.lost
	s.lost = true
	if probed || s.failures == 0 {
		s.failures++
	}
	s.mu.Unlock()
	if !was {
		s.log.Warn("registry.lost", "address", s.where, "error", err)
	}
}

// backoff waits before a watch with n failures tries again, and reports whether
// it is the prober, which must call done after its try.
func (s *source) backoff(ctx context.Context, err error, n int) (probing bool) {
	switch {
	case errors.Is(err, ErrACL), errors.Is(err, ErrTooLarge): // wait for people
		sleep(ctx, backoffMax+jitter(n))
		return false
	case !sourceWide(err):
		sleep(ctx, jitter(n))
		return false
	}
	s.mu.Lock()
	recovered := s.recovered
	lost := s.lost
	s.mu.Unlock()
	if !lost { // another watch has just seen it answer
		sleep(ctx, jitter(n))
		return false
	}
	t := time.NewTimer(lonely + jitter(10))
	defer t.Stop()
	select {
	case s.probe <- struct{}{}:
		s.mu.Lock()
		n = s.failures
		s.mu.Unlock()
		d := jitter(n)
		if isStatus(err, 429) {
			d += time.Second
		}
		sleep(ctx, d)
		return true
	case <-recovered:
		sleep(ctx, time.Duration(rand.Int64N(int64(recoverSpread))))
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// done gives the prober's token back.
func (s *source) done() { <-s.probe }

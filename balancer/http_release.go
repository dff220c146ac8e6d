package balancer

import (
	"context"
	"time"
)

// releaseIdle ends the service if it was idle for long, else looks again later.
func (s *service) releaseIdle() {
	rest := s.t.cfg.ReleaseAfter - time.Duration(Now()-s.lastUsed.Load())
	if s.gate.word.Load() == 0 && rest <= 0 && s.gate.retireIdle() {
		close(s.drained)
		s.end()
		s.t.forget(s)
		return
	}
	if s.ctx.Err() == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.release.Reset(max(rest, time.Second))
	}
}

// close refuses new requests, waits for those under way and ends the service.
func (s *service) close(ctx context.Context) (err error) {
	if s.gate.retire() {
		close(s.drained)
	}
	select {
	case <-s.drained:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.end()
	s.t.forget(s)
	return err
}

// end stops everything, at once; it returns when all of it has stopped.
func (s *service) end() {
	s.once.Do(func() {
		s.cancel()
		s.mu.Lock()
		s.release.Stop()
		s.mu.Unlock()
		s.lb.Close()
		s.eachPool((*pool).abort)
		close(s.ended)
	})
	<-s.ended
}

package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// maxDials bounds how many endpoints one request tries to connect to. It is more
// than a subset with its warm connections: if all of those die at once, a request
// still finds the next tier.
const maxDials = 24

// service is one service of a Transport: a watch, a Balancer, a pool per endpoint.
type service struct {
	t    *Transport
	name string
	lb   *Balancer
	gate gate // requests, bodies included

	ctx     context.Context // ends with the service
	cancel  context.CancelFunc
	drained chan struct{} // closed when the gate is shut and empty
	ended   chan struct{} // closed when nothing of the service runs
	once    sync.Once

	wake     atomic.Pointer[chan struct{}] // closed at the next publish
	reason   atomic.Pointer[error]         // why the catalog cannot answer
	lastUsed atomic.Int64

	mu      sync.Mutex
	release *time.Timer
	pools   map[*pool]struct{}
}

func newService(t *Transport, name string) (*service, error) {
	s := &service{
		t: t, name: name, pools: map[*pool]struct{}{},
		drained: make(chan struct{}), ended: make(chan struct{}),
	}
	ch := make(chan struct{})
	s.wake.Store(&ch)
	cfg := t.cfg.Balancer
	if t.cfg.BalancerFor != nil {
		cfg = t.cfg.BalancerFor(name)
		if cfg.Store == nil {
			cfg.Store = t.cfg.Balancer.Store
		}
	}
	lb, err := New(cfg, Connector{Connect: s.connect, Published: s.published})
	if err != nil {
		return nil, fmt.Errorf("balancer: service %q: %w", name, err)
	}
	s.lb = lb
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.lastUsed.Store(Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release = time.AfterFunc(t.cfg.ReleaseAfter, s.releaseIdle)
	t.wg.Go(s.watch)
	return s, nil
}

// watch runs until the service ends.
func (s *service) watch() {
	err := s.t.cfg.Catalog.Watch(s.ctx, s.name, func(snap *resolver.Snapshot) {
		s.reason.Store(&snap.Reason)
		s.lb.Update(snap)
	})
	if s.ctx.Err() == nil {
		if err == nil {
			err = errors.New("the catalog ended the watch")
		}
		s.reason.Store(&err)
		s.published()
	}
}

// published wakes the requests that wait.
func (s *service) published() {
	ch := make(chan struct{})
	close(*s.wake.Swap(&ch))
}

func (s *service) leave() {
	s.lastUsed.Store(Now())
	if s.gate.leave() {
		close(s.drained)
	}
}

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

func (s *service) eachPool(f func(*pool)) {
	s.mu.Lock()
	pools := make([]*pool, 0, len(s.pools))
	for p := range s.pools {
		pools = append(pools, p)
	}
	s.mu.Unlock()
	for _, p := range pools {
		f(p)
	}
}

// roundTrip sends req to an endpoint, and to another one while no connection can
// be made. On success the caller's place in the gate passes to the body.
func (s *service) roundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	call := CallFrom(ctx)
	if call == nil {
		_, call = NewCall(ctx, s.name, req.Method)
		call.Path = req.URL.Path
	}
	body := holdBody(req)
	defer body.release()
	for try := 1; ; try++ {
		n, start, err := s.pick(ctx, call)
		if err != nil {
			body.drop()
			return nil, err
		}
		p := n.Conn().(*pool)
		resp, err := p.roundTrip(req, body)
		if err == nil {
			resp.Request = req
			onBodyEnd(resp, &sent{s: s, p: p, n: n, took: Now() - start, ctx: ctx, call: call})
			return resp, nil
		}
		n.Done(start, resilience.FromHTTP(nil, err, resilience.CallerEnded(ctx, call.Deadline)))
		p.leave()
		if !errors.Is(err, resilience.ErrUnsent) || body.touched() || try >= maxDials || ctx.Err() != nil {
			body.drop()
			return nil, fmt.Errorf("endpoint %s at %s: %w", n.ID, n.Endpoint().Addr, err)
		}
	}
}

// pick waits until a node can be had, and enters its pool.
func (s *service) pick(ctx context.Context, call *Call) (*Node, int64, error) {
	var timeout <-chan time.Time
	for {
		wake := *s.wake.Load() // before the pick: a publish after it is not missed
		n, err := s.lb.Pick(call)
		if err == nil {
			start := Now()
			if n.Conn().(*pool).gate.enter() {
				return n, start, nil
			}
			// The pool was retired after the picker was read; the newest one has not got it.
			n.Done(start, resilience.Outcome{Unsent: true})
			continue
		}
		if !errors.Is(err, ErrNotReady) {
			return nil, 0, err
		}
		if timeout == nil {
			t := time.NewTimer(s.t.cfg.WaitTimeout)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, 0, s.waited(ctx.Err())
		case <-timeout:
			return nil, 0, s.waited(fmt.Errorf("%w after %v", ErrNotReady, s.t.cfg.WaitTimeout))
		case <-s.ctx.Done():
			return nil, 0, ErrClosed
		}
	}
}

// waited adds why the catalog could not answer.
func (s *service) waited(err error) error {
	if r := s.reason.Load(); r != nil && *r != nil {
		return fmt.Errorf("%w (%w)", err, *r)
	}
	return err
}

package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/resilience"
)

// maxDials bounds how many endpoints one request tries to connect to. It is more
// than a subset with its warm connections: if all of those die at once, a request
// still finds the next tier.
const maxDials = 24

// roundTrip sends req to an endpoint, and to another one while no connection can
// be made. On success the caller's place in the gate passes to the body.
func (s *service) roundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	call := CallFrom(ctx)
	if call == nil {
		_, call = NewCall(ctx, s.name, req.Method)
		call.Path = req.URL.Path
	}
	own, _ := ctx.Value(ownKey{}).(*http.Request)
	u, host := req.URL, req.Host // before they are changed, if own is req
	body := bodiesOf(req)
	defer body.held.release()
	for try := 1; ; try++ {
		in, err := body.next()
		if err != nil {
			return nil, err
		}
		n, start, err := s.pick(ctx, call)
		if err != nil {
			body.drop(in)
			return nil, err
		}
		p := n.Conn().(*pool)
		left, err := s.enterGate(ctx, call, n)
		if err != nil {
			n.Done(start, resilience.OutcomeOf(err))
			p.leave()
			body.drop(in)
			return nil, err
		}
		var a *sent
		if own == req && try == 1 {
			a = &sent{out: req}
		} else {
			x := new(copied)
			x.req = *req
			a = &x.sent
			a.out = &x.req
		}
		a.p, a.n, a.req, a.call, a.left = p, n, req, call, left
		resp, err := p.roundTrip(a, u, host, in)
		if err == nil {
			end := Now()
			a.took = end - start
			call.ended.Store(end)
			resp.Request = req
			a.answered(resp)
			return resp, nil
		}
		o := resilience.JudgeHTTP(req, nil, err, resilience.CallerEnded(ctx, call.Deadline))
		n.Done(start, o)
		if left != nil {
			left(o)
		}
		p.leave()
		if !errors.Is(err, resilience.ErrUnsent) || body.held.touched() || try >= maxDials || ctx.Err() != nil {
			body.held.drop()
			return nil, fmt.Errorf("endpoint %s at %s: %w", n.ID, n.Endpoint().Addr, err)
		}
	}
}

// enterGate enters Config.Gate for an attempt to n. done is nil without a Gate.
func (s *service) enterGate(ctx context.Context, call *Call, n *Node) (done func(resilience.Outcome), err error) {
	g := s.lb.cfg.Gate
	if g == nil {
		return nil, nil
	}
	return g.Enter(ctx, &resilience.Info{Service: s.name, Method: call.Method, Path: call.Path, Cloud: n.Endpoint().Locality.Cloud})
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

package resilience

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// errFirstMessage is the cause of an attempt that got no message in its time.
var errFirstMessage = errors.New("resilience: no message within Retry.AttemptTimeout")

// Stream is a grpc.StreamClientInterceptor. A stream is made again as long as
// nothing came back: one that was not sent at all, and an idempotent one until
// its first message, header or end arrives, if what was sent fits into
// ReplayLimit. Sent messages must not be changed, which gRPC asks for anyway.
// Streams are never hedged and have no timeout but Retry.AttemptTimeout, which
// ends with the first message.
func (c *GRPCClient) Stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s := &stream{c: c, ctx: ctx, in: c.info(method, cc, true), cc: cc, desc: desc, streamer: streamer}
	s.splitFinish(opts)
	c.loop.budget.Request()
	if err := s.open(1); err != nil {
		if err = s.again(err); err != nil {
			s.finished(err)
			return nil, err
		}
	}
	if !s.in.Idempotent {
		s.commit() // from here on nobody knows what the server has done
	}
	return s, nil
}

// stream is a ClientStream that can begin anew until it is committed.
type stream struct {
	c        *GRPCClient
	ctx      context.Context
	in       Info
	cc       *grpc.ClientConn
	desc     *grpc.StreamDesc
	streamer grpc.Streamer
	opts     []grpc.CallOption
	finish   []grpc.OnFinishCallOption

	cur       atomic.Pointer[streamAttempt]
	committed atomic.Bool
	last      atomic.Pointer[Result] // of a call that did not begin anew
	done      sync.Once

	mu     sync.Mutex // while not committed: sending, and beginning anew
	sent   []any
	size   int
	closed bool
	freed  bool // sent is empty for good; the sender's
}

// streamAttempt is one attempt; its ClientStream is nil if none was made.
type streamAttempt struct {
	grpc.ClientStream
	n      int
	ctx    context.Context
	cancel context.CancelCauseFunc // nil without an AttemptTimeout
	timer  *time.Timer
}

func (a *streamAttempt) stopTimer() {
	if a != nil && a.timer != nil {
		a.timer.Stop()
	}
}

// release ends what the attempt holds.
func (a *streamAttempt) release() {
	a.stopTimer()
	if a != nil && a.cancel != nil {
		a.cancel(nil)
	}
}

// splitFinish takes the OnFinish options out: they are called once per call.
func (s *stream) splitFinish(opts []grpc.CallOption) {
	for _, o := range opts {
		if f, ok := o.(grpc.OnFinishCallOption); ok {
			s.finish = append(s.finish, f)
			continue
		}
		s.opts = append(s.opts, o)
	}
	s.opts = append(s.opts, grpc.OnFinish(s.attemptFinished))
}

// attemptFinished is called by gRPC when an attempt ended. It is the end of the
// call if nothing can follow.
func (s *stream) attemptFinished(err error) {
	if s.committed.Load() || err == nil || s.ctx.Err() != nil {
		s.finished(err)
	}
}

func (s *stream) finished(err error) {
	s.done.Do(func() {
		a := s.cur.Load()
		a.release()
		r := Result{Outcome: Outcome{Class: Success}}
		if a != nil {
			r.Attempt, r.Attempts = a.n, a.n
		}
		if last := s.last.Load(); last != nil {
			r = *last
		} else if err != nil {
			r.Outcome = s.c.outcome(s.ctx, s.in.Method, s.cc, err, true, nil)
		}
		InboundFrom(s.ctx).note(&r)
		s.c.report(s.ctx, &s.in, r)
		for _, f := range s.finish {
			f.OnFinish(err)
		}
	})
}

// open begins attempt n and repeats what was sent.
func (s *stream) open(n int) error {
	s.cur.Load().release()
	a := &streamAttempt{n: n, ctx: s.ctx}
	if d := s.c.loop.retry.AttemptTimeout; d > 0 {
		var cancel context.CancelCauseFunc
		a.ctx, cancel = context.WithCancelCause(s.ctx)
		a.cancel = cancel
		a.timer = time.AfterFunc(d, func() { cancel(errFirstMessage) })
	}
	a.ctx, _ = s.c.loop.verdict(a.ctx) // for the balancer: a stream may end here before it ends there
	cur, err := s.streamer(numbered(a.ctx, n), s.desc, s.cc, s.in.Method, s.opts...)
	if err == nil {
		a.ClientStream = cur
	}
	s.cur.Store(a)
	if err != nil {
		a.stopTimer()
		return err
	}
	for _, m := range s.sent {
		if err := cur.SendMsg(m); err != nil {
			break // RecvMsg tells why
		}
	}
	if s.closed {
		_ = cur.CloseSend() // as above
	}
	return nil
}

// again begins anew after err, as often as the Loop allows; it returns the error
// that the call ends with, or nil for a new attempt.
func (s *stream) again(err error) error {
	from := InboundFrom(s.ctx)
	for {
		a := s.cur.Load()
		var o Outcome
		o, err = s.outcome(a, err)
		wait, stop := s.c.loop.next(s.ctx, &s.in, from, o, a.n)
		if stop == stopNot && !sleep(s.ctx, wait) {
			stop = StopTime
		}
		if stop != stopNot {
			s.last.Store(&Result{Outcome: o, Attempt: a.n, Attempts: a.n, Stop: stop})
			s.committed.Store(true)
			return err
		}
		if err = s.open(a.n + 1); err == nil {
			return nil
		}
	}
}

// outcome classifies the attempt that ended with err, and says what happened
// where gRPC only knows that the context ended.
func (s *stream) outcome(a *streamAttempt, err error) (Outcome, error) {
	if s.ctx.Err() == nil && errors.Is(context.Cause(a.ctx), errFirstMessage) {
		return Outcome{Class: Retryable}, status.Error(codes.DeadlineExceeded, errFirstMessage.Error())
	}
	var trailer metadata.MD
	if a.ClientStream != nil {
		trailer = a.Trailer()
	}
	return s.c.outcome(a.ctx, s.in.Method, s.cc, err, a.ClientStream != nil, trailer), err
}

// commit says that the stream does not begin anew any more. It takes no lock:
// the receiver must not wait for a sender, who may wait for the server.
func (s *stream) commit() {
	if !s.committed.Swap(true) {
		s.cur.Load().stopTimer()
	}
}

// SendMsg sends, and keeps what may have to be sent again.
func (s *stream) SendMsg(m any) error {
	if s.committed.Load() && s.freed {
		return s.cur.Load().SendMsg(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.committed.Load() && !s.keep(m) {
		s.commit()
	}
	if s.committed.Load() {
		s.sent, s.freed = nil, true
		return s.cur.Load().SendMsg(m)
	}
	err := s.cur.Load().SendMsg(m)
	if err == io.EOF {
		return nil // the attempt broke: RecvMsg begins anew, or says why not
	}
	return err
}

// keep reports whether m can be sent again.
func (s *stream) keep(m any) bool {
	p, ok := m.(proto.Message)
	if !ok {
		return false
	}
	if s.size += proto.Size(p); s.size > s.c.cfg.ReplayLimit {
		return false
	}
	s.sent = append(s.sent, m)
	return true
}

// CloseSend ends sending.
func (s *stream) CloseSend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.cur.Load().CloseSend()
}

// RecvMsg receives. The first one decides whether the stream begins anew.
func (s *stream) RecvMsg(m any) error {
	for {
		err := s.cur.Load().RecvMsg(m)
		if s.committed.Load() {
			return s.ended(err)
		}
		if err == nil || err == io.EOF {
			s.commit()
			return s.ended(err)
		}
		s.mu.Lock()
		if !s.committed.Load() {
			err = s.again(err)
		}
		s.mu.Unlock()
		if err != nil {
			return s.ended(err)
		}
		clearMessage(m)
	}
}

// ended tells who wants to know that the call is over.
func (s *stream) ended(err error) error {
	switch {
	case err == nil:
		if !s.desc.ServerStreams {
			s.finished(nil)
		}
	case err == io.EOF:
		s.finished(nil)
	default:
		s.finished(err)
	}
	return err
}

// Header waits for the server's header. The stream does not begin anew after it.
func (s *stream) Header() (metadata.MD, error) {
	s.commit()
	return s.cur.Load().Header()
}

// Trailer is the server's trailer, after the end.
func (s *stream) Trailer() metadata.MD { return s.cur.Load().Trailer() }

// Context is the context of the call.
func (s *stream) Context() context.Context { return s.ctx }

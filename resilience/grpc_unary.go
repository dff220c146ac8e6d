package resilience

import (
	"context"
	"reflect"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
)

// Unary is a grpc.UnaryClientInterceptor. Put it after (inside) interceptors that
// see a call once, and before those that see each attempt.
func (c *GRPCClient) Unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	u := c.calls.Get().(*unaryCall)
	u.c, u.in, u.req, u.reply, u.cc, u.invoke, u.opts = c, c.info(method, cc, false), req, reply, cc, invoke, opts
	if !cloneable(reply) && c.loop.Hedges(&u.in) {
		u.in.Idempotent = false // a hedge would need a second reply
	}
	u.hedges = c.loop.Hedges(&u.in)
	u.splitFinish()
	r := c.loop.Do(ctx, &u.in, u)
	err := u.take(r.Attempt)
	r.End()
	c.report(ctx, &u.in, r)
	for _, f := range u.finish {
		f.OnFinish(err)
	}
	u.reuse()
	return err
}

// reuse gives the call back, unless somebody may still hold a part of it: a hedge's
// replies, or who was told of the call. gRPC writes to the options of a unary call
// before it returns and never after.
func (u *unaryCall) reuse() {
	if c := u.c; !u.hedges && c.cfg.Report == nil {
		*u = unaryCall{}
		c.calls.Put(u)
	}
}

// unaryCall is a call and the attempt it makes. One at a time they share the
// caller's reply and options; hedged ones have their own.
type unaryCall struct {
	c          *GRPCClient
	in         Info
	req, reply any
	cc         *grpc.ClientConn
	invoke     grpc.UnaryInvoker
	opts       []grpc.CallOption
	finish     []grpc.OnFinishCallOption // called once per call, not per attempt
	hedges     bool

	one unaryReply // the only one, unless the call hedges
	buf [8]grpc.CallOption

	mu   sync.Mutex
	many []*unaryReply
}

// unaryReply is what one attempt came to.
type unaryReply struct {
	n       int
	msg     any
	err     error
	header  metadata.MD
	trailer metadata.MD
	peer    peer.Peer
}

// Try makes an attempt.
func (u *unaryCall) Try(ctx context.Context, n int) Outcome {
	r, opts := &u.one, u.buf[:0]
	if u.hedges {
		r, opts = &unaryReply{n: n, msg: u.reply}, nil
		if n > 1 {
			r.msg = fresh(u.reply)
		}
		opts = append(opts, u.private(r)...)
		u.mu.Lock()
		u.many = append(u.many, r)
		u.mu.Unlock()
	} else {
		if n > 1 {
			u.reset()
		}
		r.msg = u.reply
		opts = append(opts, u.opts...)
	}
	ctx, v := u.c.loop.verdict(ctx)
	told := u.c.cfg.Balanced && v != nil && u.c.stock
	if !told || u.hedges {
		opts = append(opts, grpc.Trailer(&r.trailer), grpc.Peer(&r.peer))
	}
	r.err = u.invoke(numbered(ctx, n), u.in.Method, u.req, r.msg, u.cc, opts...)
	if o, ok := v.take(r.err); ok && told {
		if _, refused := refusedBelow(r.err); !refused {
			return o
		}
	}
	return u.c.outcome(ctx, u.in.Method, u.cc, r.err, r.peer.Addr != nil || told && v.reached(), r.trailer)
}

// reset forgets what the attempt before has left where the caller will look.
func (u *unaryCall) reset() {
	u.one = unaryReply{}
	clearMessage(u.reply)
	for _, o := range u.opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = nil
		case grpc.TrailerCallOption:
			*o.TrailerAddr = nil
		case grpc.PeerCallOption:
			*o.PeerAddr = peer.Peer{}
		}
	}
}

// private is the caller's options with places of r in them.
func (u *unaryCall) private(r *unaryReply) []grpc.CallOption {
	opts := make([]grpc.CallOption, 0, len(u.opts)+2)
	for _, o := range u.opts {
		switch o.(type) {
		case grpc.HeaderCallOption:
			o = grpc.Header(&r.header)
		case grpc.TrailerCallOption, grpc.PeerCallOption:
			continue // r gets both anyway
		}
		opts = append(opts, o)
	}
	return opts
}

// splitFinish takes the OnFinish options out.
func (u *unaryCall) splitFinish() {
	for i, o := range u.opts {
		f, ok := o.(grpc.OnFinishCallOption)
		if !ok {
			if u.finish != nil {
				u.opts = append(u.opts, o)
			}
			continue
		}
		if u.finish == nil {
			u.opts = append([]grpc.CallOption(nil), u.opts[:i]...)
		}
		u.finish = append(u.finish, f)
	}
}

// take gives the caller what attempt n came to. No attempt runs any more.
func (u *unaryCall) take(n int) error {
	if !u.hedges {
		return u.one.err
	}
	for _, r := range u.many {
		if r.n != n {
			continue
		}
		if r.n > 1 && r.err == nil {
			copyMessage(u.reply, r.msg)
		}
		for _, o := range u.opts {
			switch o := o.(type) {
			case grpc.HeaderCallOption:
				*o.HeaderAddr = r.header
			case grpc.TrailerCallOption:
				*o.TrailerAddr = r.trailer
			case grpc.PeerCallOption:
				*o.PeerAddr = r.peer
			}
		}
		return r.err
	}
	return nil
}

// cloneable reports whether a second message like m can be made.
func cloneable(m any) bool {
	if _, ok := m.(proto.Message); ok {
		return true
	}
	v := reflect.ValueOf(m)
	return v.Kind() == reflect.Pointer && !v.IsNil()
}

// fresh is an empty message of m's type.
func fresh(m any) any {
	if p, ok := m.(proto.Message); ok {
		return p.ProtoReflect().New().Interface()
	}
	return reflect.New(reflect.TypeOf(m).Elem()).Interface()
}

func clearMessage(m any) {
	if p, ok := m.(proto.Message); ok {
		proto.Reset(p)
		return
	}
	if v := reflect.ValueOf(m); v.Kind() == reflect.Pointer && !v.IsNil() {
		v.Elem().SetZero()
	}
}

func copyMessage(to, from any) {
	if p, ok := to.(proto.Message); ok {
		proto.Reset(p)
		proto.Merge(p, from.(proto.Message))
		return
	}
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem())
}

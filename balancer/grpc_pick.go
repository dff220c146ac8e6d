package balancer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/weft-mesh/weft/resilience"
)

// picker asks the core. It is the same object for the life of a channel.
type picker struct {
	lanes    atomic.Pointer[[]*lane]
	err      atomic.Pointer[error] // why nothing is known
	attempts sync.Pool             // *attempt
}

func (p *picker) init(service string) {
	p.attempts.New = func() any {
		a := &attempt{pool: &p.attempts}
		a.own.Service = service
		a.done = a.finish // bound once: a method value per pick would be an allocation
		return a
	}
}

// Pick implements grpc's Picker. It takes no lock and does not allocate.
func (p *picker) Pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	if err := p.err.Load(); err != nil {
		return grpcbalancer.PickResult{}, *err
	}
	a := p.attempts.Get().(*attempt)
	call := CallFrom(info.Ctx)
	if call == nil {
		call = a.newCall(info)
	}
	core := p.core(call.Lane)
	if core == nil {
		p.attempts.Put(a)
		return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
	}
	var err error
	if core.cfg.Gate == nil {
		a.node, err = core.Pick(call)
		a.start = Now()
	} else {
		a.node, a.start, err = core.pickGated(info.Ctx, call)
	}
	if err != nil {
		p.attempts.Put(a)
		return grpcbalancer.PickResult{}, pickError(err)
	}
	n := a.node
	a.call, a.ctx = call, info.Ctx
	return grpcbalancer.PickResult{SubConn: n.conn.(*subConn).sc, Done: a.done}, nil
}

// core is the core of a lane; nil if the resolver has not brought it yet.
func (p *picker) core(name string) *Balancer {
	lanes := p.lanes.Load()
	if lanes == nil {
		return nil
	}
	for _, x := range *lanes {
		if x.name == name {
			return x.core.Load()
		}
	}
	if name == "" {
		return (*lanes)[0].core.Load()
	}
	return nil
}

// pickError says it in grpc's words. A plain error fails calls that do not wait
// with Unavailable and keeps the others waiting; an error that wraps a status
// would end both, so the wrapping ends here.
func pickError(err error) error {
	if errors.Is(err, ErrNotReady) {
		return grpcbalancer.ErrNoSubConnAvailable
	}
	if err == (errGate{}) {
		return err
	}
	return errors.New(err.Error())
}

// attempt is one picked attempt until its done. It is reused: grpc calls done
// exactly once per pick, and done is the last that anyone has of it.
type attempt struct {
	pool  *sync.Pool
	done  func(grpcbalancer.DoneInfo)
	node  *Node
	call  *Call
	ctx   context.Context
	start int64
	own   Call // stands in when the context carries no call
}

// newCall is the neutral call of a client without the mesh's interceptors.
func (a *attempt) newCall(info grpcbalancer.PickInfo) *Call {
	c := &a.own
	c.Method = info.FullMethodName
	c.attempts.Store(0)
	c.Hash, c.HasHash = info.Ctx.Value(hashKey{}).(uint64)
	return c
}

func (a *attempt) finish(info grpcbalancer.DoneInfo) {
	n := a.node
	if n == nil {
		return // a second done must not put the attempt back twice
	}
	if o := a.outcome(info); a.call.Stream {
		n.doneStream(a.start, o)
	} else {
		a.call.ended.Store(n.done(a.start, o))
	}
	a.node, a.call, a.ctx = nil, nil, nil
	a.pool.Put(a)
}

func (a *attempt) outcome(info grpcbalancer.DoneInfo) resilience.Outcome {
	r := resilience.GRPCReply{Err: info.Err, BytesSent: info.BytesSent, BytesReceived: info.BytesReceived, Trailer: info.Trailer}
	if info.Err != nil {
		r.CallerEnded = resilience.CallerEnded(a.ctx, a.call.Deadline)
	}
	return resilience.JudgeGRPC(a.ctx, a.call.Method, r)
}

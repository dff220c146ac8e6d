package balancer

import (
	"fmt"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// lb is the policy of one channel. grpc calls its methods one after the other.
//
// Lock order: lb.mu, then grpc's own. The core's mutex is never held while
// lb.mu is taken, and a pick takes neither.
type lb struct {
	cc      grpcbalancer.ClientConn
	service string
	picker  picker // the one picker that grpc ever sees
	wg      sync.WaitGroup

	mu     sync.Mutex
	lanes  []*lane
	closed bool
}

// lane is a Lane of a channel.
type lane struct {
	name    string
	core    atomic.Pointer[Balancer] // cur's
	connect atomic.Int64             // Lane.ConnectTimeout

	// The rest is guarded by lb.mu.
	cur  *generation // takes the picks
	next *generation // has a new configuration and connects; nil: none
}

func newLB(cc grpcbalancer.ClientConn, service string) *lb {
	l := &lb{cc: cc, service: service}
	l.picker.init(service)
	return l
}

func (l *lb) UpdateClientConnState(ccs grpcbalancer.ClientConnState) error {
	in, err := readState(ccs.ResolverState)
	if err != nil {
		l.ResolverError(err)
		return grpcbalancer.ErrBadResolverState
	}
	gens, err := l.generations(ccs)
	if err != nil {
		l.ResolverError(err)
		return grpcbalancer.ErrBadResolverState
	}
	l.picker.err.Store(nil)
	for _, g := range gens {
		g.update(in)
		l.mu.Lock()
		cur := g.lane.cur
		l.mu.Unlock()
		if g != cur { // until the next one is promoted, the current one keeps up
			cur.update(in)
		}
	}
	return nil
}

// published passes a change of g on to grpc. Every one of them is passed: the
// same picker again wakes the waiting calls, and a call that found its
// connection gone waits for exactly that.
func (l *lb) published(g *generation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := g.lane
	if l.closed || g != x.cur && g != x.next {
		return
	}
	if x.next != nil && (x.next.connectivity() != connectivity.Connecting || x.cur.connectivity() != connectivity.Ready) {
		l.retire(x.cur)
		x.cur, x.next = x.next, nil
		x.core.Store(x.cur.core)
	}
	l.report(l.connectivity())
}

// connectivity is the best state of a lane: a channel is ready if some calls can
// be sent.
func (l *lb) connectivity() connectivity.State {
	best := connectivity.TransientFailure
	for _, x := range l.lanes {
		switch x.cur.connectivity() {
		case connectivity.Ready:
			return connectivity.Ready
		case connectivity.Connecting:
			best = connectivity.Connecting
		}
	}
	return best
}

func (l *lb) report(s connectivity.State) {
	l.cc.UpdateState(grpcbalancer.State{ConnectivityState: s, Picker: &l.picker})
}

// ResolverError keeps what is known. With nothing known, calls fail with err.
func (l *lb) ResolverError(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for _, x := range l.lanes {
		if x.cur.nodes.Load() > 0 {
			return
		}
	}
	// The text only: a wrapped status would end calls that can wait.
	err = fmt.Errorf("balancer: no endpoint of %q is known: %s", clip(l.service), err.Error())
	l.picker.err.Store(&err)
	l.report(connectivity.TransientFailure)
}

// ExitIdle has nothing to do: connections are made as endpoints come, and a lost
// one is made again at once.
func (l *lb) ExitIdle() {}

// UpdateSubConnState is never called: each SubConn has a listener.
func (l *lb) UpdateSubConnState(grpcbalancer.SubConn, grpcbalancer.SubConnState) {}

// Close shuts all connections down and waits for what runs.
func (l *lb) Close() {
	l.mu.Lock()
	l.closed = true
	lanes := l.lanes
	l.lanes = nil
	l.mu.Unlock()
	for _, x := range lanes {
		x.cur.core.Close()
		if x.next != nil {
			x.next.core.Close()
		}
	}
	l.wg.Wait()
}

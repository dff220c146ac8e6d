package balancer

import (
	"fmt"
	"sync"

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
	cur    *generation // takes the picks
	next   *generation // has a new configuration and connects; nil: none
	closed bool
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
	g, err := l.generation(ccs)
	if err != nil {
		l.ResolverError(err)
		return grpcbalancer.ErrBadResolverState
	}
	l.picker.err.Store(nil)
	g.update(in)
	l.mu.Lock()
	cur := l.cur
	l.mu.Unlock()
	if g != cur { // until the next one is promoted, the current one keeps up
		cur.update(in)
	}
	return nil
}

// published passes a change of g on to grpc. Every one of them is passed: the
// same picker again wakes the waiting calls, and a call that found its
// connection gone waits for exactly that.
func (l *lb) published(g *generation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || g != l.cur && g != l.next {
		return
	}
	if l.next != nil && (l.next.connectivity() != connectivity.Connecting || l.cur.connectivity() != connectivity.Ready) {
		l.retire(l.cur)
		l.cur, l.next = l.next, nil
		l.picker.core.Store(l.cur.core)
	}
	l.report(l.cur.connectivity())
}

func (l *lb) report(s connectivity.State) {
	l.cc.UpdateState(grpcbalancer.State{ConnectivityState: s, Picker: &l.picker})
}

// ResolverError keeps what is known. With nothing known, calls fail with err.
func (l *lb) ResolverError(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.cur != nil && l.cur.nodes.Load() > 0 {
		return
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
	cur, next := l.cur, l.next
	l.cur, l.next = nil, nil
	l.mu.Unlock()
	for _, g := range []*generation{cur, next} {
		if g != nil {
			g.core.Close()
		}
	}
	l.wg.Wait()
}

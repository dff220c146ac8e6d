package balancer

import (
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

// channel is a grpc channel without a network: the test moves its connections.
type channel struct {
	grpcbalancer.ClientConn // grpc insists on embedding
	mu                      sync.Mutex
	conns                   []*fakeConn
	state                   connectivity.State
	picker                  grpcbalancer.Picker
	updates                 int
}

type fakeConn struct {
	grpcbalancer.SubConn
	ch       *channel
	addr     grpcresolver.Address
	listener func(grpcbalancer.SubConnState)
	connects int
	shut     bool
}

func (c *channel) NewSubConn(a []grpcresolver.Address, o grpcbalancer.NewSubConnOptions) (grpcbalancer.SubConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &fakeConn{ch: c, addr: a[0], listener: o.StateListener}
	c.conns = append(c.conns, f)
	return f, nil
}

func (c *channel) UpdateState(s grpcbalancer.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s.ConnectivityState
	if c.picker != s.Picker { // one stable picker: tests read it while publishes go on
		c.picker = s.Picker
	}
	c.updates++
}

func (f *fakeConn) Connect() {
	f.ch.mu.Lock()
	defer f.ch.mu.Unlock()
	f.connects++
}

func (f *fakeConn) Shutdown() {
	f.ch.mu.Lock()
	defer f.ch.mu.Unlock()
	f.shut = true
}

func (f *fakeConn) become(s connectivity.State, err error) {
	f.listener(grpcbalancer.SubConnState{ConnectivityState: s, ConnectionError: err})
}

// open are the connections that are not shut.
func (c *channel) open() []*fakeConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.conns), func(f *fakeConn) bool { return f.shut })
}

// pick picks as grpc would.
func (c *channel) pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	c.mu.Lock()
	p := c.picker
	c.mu.Unlock()
	return p.Pick(info)
}

// count is how many times the state was passed on.
func (c *channel) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.updates
}

func (c *channel) connectivity() connectivity.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// newChannel is a policy on a fake channel.
func newChannel(t testing.TB) (*lb, *channel) {
	c := &channel{}
	l := newLB(c, "payments")
	t.Cleanup(l.Close)
	return l, c
}

// update gives l a state with the balancer cfg.
func update(t testing.TB, l *lb, s grpcresolver.State, cfg *Config) {
	t.Helper()
	Attach(&s, cfg)
	if err := l.UpdateClientConnState(grpcbalancer.ClientConnState{ResolverState: s}); err != nil {
		t.Fatal(err)
	}
}

func plainConfig() *Config { return &Config{Policy: RoundRobin{}, SubsetSize: -1, FailbackAfter: -1} }

// spyPolicy is RoundRobin that shows what it was given.
type spyPolicy struct {
	mu   sync.Mutex
	last Set
	call func(*Call) // on each pick; nil: nobody looks
}

func (s *spyPolicy) NewPicker(set Set, prev Picker) Picker {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = set
	p, _ := prev.(spyPicker)
	return spyPicker{s, RoundRobin{}.NewPicker(set, p.Picker)}
}

func (s *spyPolicy) nodes() []*Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.Nodes
}

// connected makes calls until n endpoints are ready.
func (s *spyPolicy) connected(t *testing.T, cc *grpc.ClientConn, n int) {
	t.Helper()
	for ready := 0; ready < n; {
		_, err := call(t.Context(), cc, "", grpc.WaitForReady(true))
		if err != nil && status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		s.mu.Lock()
		ready = len(s.last.Ready)
		s.mu.Unlock()
	}
}

type spyPicker struct {
	spy *spyPolicy
	Picker
}

func (p spyPicker) Pick(c *Call) *Node {
	if p.spy.call != nil {
		p.spy.call(c)
	}
	return p.Picker.Pick(c)
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weft-mesh/weft/mesh"
)

const (
	leaves      = 3                     // instances of d
	slots       = 3                     // calls that an instance of d works on at a time
	serviceTime = 10 * time.Millisecond // of one call at d
	capacity    = float64(leaves*slots) * float64(time.Second/serviceTime)
)

// chain is the services, and the pipes between them.
type chain struct {
	embedded *mesh.Embedded
	begin    time.Time
	fail     atomic.Uint64 // calls of a million that fail at d

	mu        sync.Mutex
	listeners map[string]*pipe
	rnd       *rand.Rand
	arrived   []time.Duration // at d
	closers   []func()
}

// newChain builds the services from the last to the first, and returns the
// client of the first.
func newChain(ctx context.Context, join joiner, seed uint64) (c *chain, first grpc_testing.TestServiceClient, err error) {
	c = &chain{begin: time.Now(), listeners: map[string]*pipe{}, rnd: rand.New(rand.NewPCG(seed, seed))}
	if c.embedded, err = mesh.NewEmbedded(nil); err != nil {
		return c, nil, err
	}
	var next grpc_testing.TestServiceClient
	last := ""
	for _, name := range []string{"d", "c", "b", "a", "caller"} {
		n := 1
		if name == "d" {
			n = leaves
		}
		for i := range n {
			m, err := join(ctx, c, name)
			if err != nil {
				return c, nil, err
			}
			c.closers = append(c.closers, m.close)
			if last != "" {
				conn, err := m.dial(last)
				if err != nil {
					return c, nil, err
				}
				c.closers = append(c.closers, func() { conn.Close() })
				next = grpc_testing.NewTestServiceClient(conn)
			}
			if name != "caller" {
				c.serve(ctx, m, name, i, next)
			}
		}
		last = name
		time.Sleep(time.Second) // virtual: what was announced is known
	}
	return c, next, nil
}

// serve runs one instance; without a next service it is the last.
func (c *chain) serve(ctx context.Context, m *member, name string, i int, next grpc_testing.TestServiceClient) {
	var impl grpc_testing.TestServiceServer = &hop{next: next}
	if next == nil {
		impl = &leaf{c: c, slots: make(chan struct{}, slots)}
	}
	c.mu.Lock()
	addr := &net.TCPAddr{IP: net.IPv4(10, 0, 0, name[0]-'a'), Port: 81 + i} // instances are named by port
	l := &pipe{bufconn.Listen(64 << 10), addr, name}
	c.listeners[addr.String()] = l
	c.mu.Unlock()
	ctx, stop := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() { m.serve(ctx, impl, l) })
	c.closers = append(c.closers, func() { stop(); served.Wait() })
}

func (c *chain) close() {
	for i := len(c.closers) - 1; i >= 0; i-- {
		c.closers[i]()
	}
}

// dial is how members reach each other.
func (c *chain) dial(ctx context.Context, addr string) (net.Conn, error) {
	c.mu.Lock()
	l := c.listeners[addr]
	c.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("nobody listens at %s", addr)
	}
	return l.DialContext(ctx)
}

// addrs is where a service is.
func (c *chain) addrs(service string) (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, l := range c.listeners {
		if l.service == service {
			list = append(list, addr)
		}
	}
	slices.Sort(list)
	return list
}

// pipe is a listener in memory that has an address as others have.
type pipe struct {
	*bufconn.Listener
	addr    net.Addr
	service string
}

func (p *pipe) Addr() net.Addr { return p.addr }

// hop passes calls on.
type hop struct {
	grpc_testing.UnimplementedTestServiceServer
	next grpc_testing.TestServiceClient
}

func (h *hop) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return h.next.UnaryCall(ctx, req)
}

// leaf does the work, and then fails some of it.
type leaf struct {
	grpc_testing.UnimplementedTestServiceServer
	c     *chain
	slots chan struct{}
}

func (l *leaf) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	c := l.c
	c.mu.Lock()
	c.arrived = append(c.arrived, time.Since(c.begin))
	bad := c.rnd.Uint64N(1e6) < c.fail.Load()
	c.mu.Unlock()
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	time.Sleep(serviceTime) // work is not given up halfway
	<-l.slots
	if bad {
		return nil, status.Error(codes.Unavailable, "brownout")
	}
	return &grpc_testing.SimpleResponse{}, nil
}

// member is one process.
type member struct {
	serve func(ctx context.Context, impl grpc_testing.TestServiceServer, l net.Listener) // until ctx ends
	dial  func(service string) (*grpc.ClientConn, error)
	close func()
}

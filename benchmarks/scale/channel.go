package main

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/weft-mesh/weft/resolver"
)

// channel is a grpc channel without a network: it counts connections, and makes
// them ready when told to.
type channel struct {
	grpcbalancer.ClientConn
	mu    sync.Mutex
	conns []*conn
	ready chan struct{} // closed when the channel is ready
	shut  atomic.Int64
}

type conn struct {
	grpcbalancer.SubConn
	ch       *channel
	listener func(grpcbalancer.SubConnState)
}

func (c *channel) NewSubConn(_ []grpcresolver.Address, o grpcbalancer.NewSubConnOptions) (grpcbalancer.SubConn, error) {
	s := &conn{ch: c, listener: o.StateListener}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, s)
	return s, nil
}

func (c *channel) UpdateState(s grpcbalancer.State) {
	if s.ConnectivityState != connectivity.Ready {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

func (*conn) Connect()    {}
func (c *conn) Shutdown() { c.ch.shut.Add(1) }

// connect makes all connections from number from on ready.
func (c *channel) connect(from int) {
	c.mu.Lock()
	conns := c.conns[from:]
	c.mu.Unlock()
	for _, s := range conns {
		s.listener(grpcbalancer.SubConnState{ConnectivityState: connectivity.Connecting})
		s.listener(grpcbalancer.SubConnState{ConnectivityState: connectivity.Ready})
	}
}

func (c *channel) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// catalog delivers what it is given.
type catalog chan *resolver.Snapshot

func (c catalog) Watch(ctx context.Context, _ string, deliver func(*resolver.Snapshot)) error {
	for {
		select {
		case s := <-c:
			deliver(s)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// states turns snapshots into the states that grpc gets.
type states struct {
	in  catalog
	out chan grpcresolver.State
	r   grpcresolver.Resolver
}

func newStates() (*states, error) {
	s := &states{in: make(catalog), out: make(chan grpcresolver.State, 1)}
	r, err := resolver.NewBuilder(s.in, resolver.BuilderConfig{}).Build(
		grpcresolver.Target{URL: url.URL{Scheme: resolver.Scheme, Path: "/payments"}}, s, grpcresolver.BuildOptions{})
	s.r = r
	return s, err
}

func (s *states) of(snap *resolver.Snapshot) grpcresolver.State {
	s.in <- snap
	return <-s.out
}

func (s *states) UpdateState(st grpcresolver.State) error            { s.out <- st; return nil }
func (*states) ReportError(err error)                                { panic(err) }
func (*states) NewAddress([]grpcresolver.Address)                    {}
func (*states) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

// fleet is a snapshot of n endpoints in three clouds, as a catalog gives it.
func fleet(n int) *resolver.Snapshot {
	clouds := []string{"aws", "azure", "gcp"}
	s := &resolver.Snapshot{Service: "payments", State: resolver.Known}
	for i := range n {
		cloud := i * len(clouds) / n
		s.Endpoints = append(s.Endpoints, endpoint(clouds[cloud], i))
	}
	return s
}

func endpoint(cloud string, i int) *resolver.Endpoint {
	return &resolver.Endpoint{
		ID:       resolver.ID{Source: cloud, Node: fmt.Sprintf("node-%06d", i), Instance: fmt.Sprintf("payments-%06d", i)},
		Addr:     fmt.Sprintf("10.%d.%d.%d:8443", i>>16&255, i>>8&255, i&255),
		Locality: resolver.Locality{Cloud: cloud, Region: "region-1", Zone: zones[i%len(zones)]},
		Weight:   1, Protocol: "grpc",
		SPIFFEID: "spiffe://td.example/ns/default/svc/payments",
	}
}

var zones = []string{"zone-a", "zone-b", "zone-c"}

// churn moves every hundredth endpoint to another address.
func churn(s *resolver.Snapshot) *resolver.Snapshot {
	next := *s
	next.Endpoints = append([]*resolver.Endpoint(nil), s.Endpoints...)
	for i := 0; i < len(next.Endpoints); i += 100 {
		old := *next.Endpoints[i]
		old.Addr = fmt.Sprintf("10.200.%d.%d:8443", i>>8&255, i&255)
		next.Endpoints[i] = &old
	}
	return &next
}

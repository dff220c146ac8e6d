package balancer

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

var errRefused = errors.New("connection refused")

// rig is a Balancer with a transport that connects nothing.
type rig struct {
	*Balancer
	mu        sync.Mutex
	conns     map[resolver.ID]*rigConn
	connects  atomic.Int64
	published atomic.Int64
	auto      func(n *Node) (ConnState, error) // applied by connectAll; nil: Ready
}

type rigConn struct {
	node   *Node
	closed atomic.Bool
}

func (c *rigConn) Close() {
	if c.closed.Swap(true) {
		panic("closed twice")
	}
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := &rig{conns: map[resolver.ID]*rigConn{}}
	if cfg.SubsetKey == "" {
		cfg.SubsetKey = "test"
	}
	b, err := New(cfg, Connector{
		Connect: func(n *Node) Conn {
			r.connects.Add(1)
			c := &rigConn{node: n}
			r.mu.Lock()
			r.conns[n.ID] = c
			r.mu.Unlock()
			return c
		},
		Published: func() { r.published.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Balancer = b
	t.Cleanup(b.Close)
	return r
}

// open is the nodes whose connection is open.
func (r *rig) open() (out []*Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		if !c.closed.Load() {
			out = append(out, c.node)
		}
	}
	return out
}

// connectAll brings every new connection to what auto says, until none is new.
func (r *rig) connectAll() {
	for {
		n := 0
		for _, node := range r.open() {
			if node.State() != Idle {
				continue
			}
			s, err := Ready, error(nil)
			if r.auto != nil {
				s, err = r.auto(node)
			}
			if s == Idle {
				continue
			}
			n++
			r.SetState(node, s, err)
		}
		if n == 0 {
			r.flush()
			return
		}
	}
}

// flush publishes what SetState has put off.
func (r *rig) flush() {
	r.Balancer.mu.Lock()
	r.now = time.Now()
	r.settle()
}

// shares picks n times, ends each pick at once with a neutral outcome, and counts by key.
func (r *rig) shares(t testing.TB, n int, key func(*Node) string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for range n {
		node, err := r.Pick(&Call{})
		if err != nil {
			t.Fatalf("pick: %v", err)
		}
		out[key(node)]++
		node.Done(Now(), resilience.Outcome{})
	}
	for k := range out {
		out[k] /= float64(n)
	}
	return out
}

func byCloud(n *Node) string { return n.Endpoint().Locality.Cloud }
func byName(n *Node) string  { return n.ID.Instance }

// eps makes n endpoints in a place.
func eps(loc resolver.Locality, prefix string, n int) []*resolver.Endpoint {
	out := make([]*resolver.Endpoint, n)
	for i := range out {
		out[i] = &resolver.Endpoint{
			ID:       resolver.ID{Source: loc.Cloud, Node: fmt.Sprintf("n%06d", i), Instance: fmt.Sprintf("%s%06d", prefix, i)},
			Addr:     fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255),
			Locality: loc,
			Weight:   1,
		}
	}
	return out
}

func snapshotOf(lists ...[]*resolver.Endpoint) *resolver.Snapshot {
	s := &resolver.Snapshot{Service: "pay", State: resolver.Known, AsOf: time.Unix(1, 0)}
	for _, l := range lists {
		s.Endpoints = append(s.Endpoints, l...)
	}
	s.Endpoints = repaired(s.Endpoints)
	return s
}

// with is list with f applied to a copy of each endpoint.
func with(list []*resolver.Endpoint, f func(i int, ep *resolver.Endpoint)) []*resolver.Endpoint {
	out := make([]*resolver.Endpoint, len(list))
	for i, ep := range list {
		c := *ep
		f(i, &c)
		out[i] = &c
	}
	return out
}

var (
	aws   = resolver.Locality{Cloud: "aws", Region: "eu", Zone: "eu-a"}
	awsB  = resolver.Locality{Cloud: "aws", Region: "eu", Zone: "eu-b"}
	awsUS = resolver.Locality{Cloud: "aws", Region: "us", Zone: "us-a"}
	gcp   = resolver.Locality{Cloud: "gcp", Region: "x", Zone: "x-a"}
	azure = resolver.Locality{Cloud: "azure", Region: "y", Zone: "y-a"}
)

var (
	success = resilience.Outcome{Class: resilience.Success}
	neutral = resilience.Outcome{}
)

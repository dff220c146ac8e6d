// Package balancertest checks an implementation of balancer.Policy against the
// contract of Policy and Picker:
//
//	func TestMine(t *testing.T) { balancertest.Run(t, MyPolicy{}, balancertest.Options{}) }
//
// It is for the authors of policies; the policies of package balancer pass it.
// It counts allocations, so the test that calls Run must not be parallel.
package balancertest

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// Options say what a policy promises. The zero value is the full contract.
type Options struct {
	// Unweighted: the policy ignores weights. Default: traffic follows them.
	Unweighted bool
	// Tolerance is how far a node's share may be from its weight's, relative to
	// it, in 20000 picks. 0: 0.15.
	Tolerance float64
	// Keyed: the policy chooses by Call.Hash. Calls with a hash must then be sticky.
	Keyed bool
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, policy balancer.Policy, o Options) {
	if o.Tolerance == 0 {
		o.Tolerance = 0.15
	}
	t.Run("empty", func(t *testing.T) { empty(t, policy) })
	t.Run("fair", func(t *testing.T) { fair(t, policy, o) })
	t.Run("ready only", func(t *testing.T) { readyOnly(t, policy) })
	t.Run("tried avoided", func(t *testing.T) { tried(t, policy) })
	t.Run("allocations", func(t *testing.T) { allocations(t, policy) })
	t.Run("churn", func(t *testing.T) { churn(t, policy) })
	if o.Keyed {
		t.Run("sticky", func(t *testing.T) { sticky(t, policy) })
	}
}

// cluster is a Balancer whose nodes are connected by the test.
type cluster struct {
	*balancer.Balancer
	mu    sync.Mutex
	nodes []*balancer.Node
}

type conn struct{}

func (conn) Close() {}

func start(t *testing.T, policy balancer.Policy, weights ...uint32) *cluster {
	t.Helper()
	c := &cluster{}
	b, err := balancer.New(balancer.Config{Policy: policy, SubsetSize: -1, SlowStart: -1}, balancer.Connector{
		Connect: func(n *balancer.Node) balancer.Conn {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.nodes = append(c.nodes, n)
			return conn{}
		},
	})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(b.Close)
	c.Balancer = b
	c.update(weights...)
	return c
}

// update makes the endpoints those of the weights and connects all that are new.
func (c *cluster) update(weights ...uint32) {
	s := &resolver.Snapshot{Service: "suite", State: resolver.Known}
	for i, w := range weights {
		if w == 0 {
			continue
		}
		s.Endpoints = append(s.Endpoints, &resolver.Endpoint{
			ID:     resolver.ID{Source: "suite", Node: fmt.Sprintf("node-%03d", i), Instance: "i"},
			Addr:   fmt.Sprintf("10.0.0.%d:80", i),
			Weight: w,
		})
	}
	c.Update(s)
	for _, n := range c.known() {
		if n.State() == balancer.Idle {
			c.SetState(n, balancer.Ready, nil)
		}
	}
	c.Update(s) // publishes what SetState may have put off
}

func (c *cluster) known() []*balancer.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*balancer.Node(nil), c.nodes...)
}

// set is a Set made by hand, all ready.
func (c *cluster) set() balancer.Set { return balancer.Set{Nodes: c.known(), Ready: c.known()} }

func empty(t *testing.T, policy balancer.Policy) {
	p := policy.NewPicker(balancer.Set{}, nil)
	for _, call := range []*balancer.Call{{}, {Hash: 1, HasHash: true}} {
		if n := p.Pick(call); n != nil {
			t.Errorf("a picker of an empty set picked %v", n.ID)
		}
	}
	c := start(t, policy, 1)
	full := policy.NewPicker(c.set(), p)
	if full.Pick(&balancer.Call{}) == nil {
		t.Error("one ready node was not picked")
	}
	if n := policy.NewPicker(balancer.Set{}, full).Pick(&balancer.Call{}); n != nil {
		t.Error("a picker of an empty set inherited nodes from its predecessor")
	}
}

func fair(t *testing.T, policy balancer.Policy, o Options) {
	for _, weights := range [][]uint32{{1, 1, 1, 1, 1}, {1, 2, 3, 4}, {65535, 65535, 65535}, {10, 1}} {
		c := start(t, policy, weights...)
		sum, counts := 0.0, map[*balancer.Node]float64{}
		for _, w := range weights {
			sum += float64(w)
		}
		const picks = 20000
		for range picks {
			n, err := c.Pick(&balancer.Call{})
			if err != nil {
				t.Fatal(err)
			}
			counts[n]++
			n.Done(balancer.Now(), resilience.Outcome{})
		}
		for _, n := range c.known() {
			want := float64(n.Endpoint().Weight) / sum
			if o.Unweighted {
				want = 1 / float64(len(weights))
			}
			if got := counts[n] / picks; math.Abs(got-want) > o.Tolerance*want {
				t.Errorf("weights %v: %s got %.3f of the picks, want %.3f", weights, n.ID.Node, got, want)
			}
		}
	}
}

func readyOnly(t *testing.T, policy balancer.Policy) {
	c := start(t, policy, 1, 2, 3, 4, 5)
	nodes := c.known()
	p := policy.NewPicker(c.set(), nil) // it believes that all are ready, as one that lags does
	for down := range nodes {
		c.SetState(nodes[down], balancer.Failed, nil)
		for i := range 200 {
			n := p.Pick(&balancer.Call{Hash: balancer.HashString(fmt.Sprint(i)), HasHash: i%2 == 0})
			switch {
			case n == nil && down < len(nodes)-1:
				t.Fatalf("%d of %d nodes are ready and none was picked", len(nodes)-down-1, len(nodes))
			case n != nil && !n.Ready():
				t.Fatalf("%s was picked and is not ready", n.ID)
			}
		}
	}
}

func tried(t *testing.T, policy balancer.Policy) {
	c := start(t, policy, 5, 1, 1)
	for i := range 500 {
		call := &balancer.Call{Hash: balancer.HashString(fmt.Sprint(i)), HasHash: i%2 == 0}
		seen := map[*balancer.Node]bool{}
		for attempt := range 4 {
			n, err := c.Pick(call)
			if err != nil {
				t.Fatalf("attempt %d: %v", attempt, err)
			}
			if seen[n] != (attempt == 3) {
				t.Fatalf("attempt %d of call %d went to a node that was tried: %v", attempt, i, seen[n])
			}
			seen[n] = true
			n.Done(balancer.Now(), resilience.Outcome{})
		}
	}
}

func allocations(t *testing.T, policy balancer.Policy) {
	c := start(t, policy, 1, 2, 3, 4, 5, 6, 7, 8)
	p := policy.NewPicker(c.set(), nil)
	call := &balancer.Call{}
	if n := testing.AllocsPerRun(1000, func() {
		call.Hash, call.HasHash = call.Hash+0x9E3779B97F4A7C15, !call.HasHash
		p.Pick(call)
	}); n != 0 {
		t.Errorf("a pick makes %v allocations", n)
	}
}

// churn changes the set under concurrent picks. Run it with -race.
func churn(t *testing.T, policy balancer.Policy) {
	c := start(t, policy, 1, 1, 1, 1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				n, err := c.Pick(&balancer.Call{Hash: uint64(i) << 32, HasHash: g%2 == 0})
				if err == nil {
					n.Done(balancer.Now(), resilience.Outcome{Class: resilience.Success})
				}
			}
		})
	}
	for i := range 30 {
		w := []uint32{1, 2, 3, 4, 5, 6}
		w[i%6] = 0
		c.update(w...)
		for _, n := range c.known() {
			if i%7 == 0 {
				c.SetState(n, balancer.Idle, nil)
			}
		}
	}
	close(stop)
	wg.Wait()
	c.update(1, 2, 3)
	for _, n := range c.known() {
		if l := n.Load().InFlight(); l != 0 {
			t.Errorf("%s has %d attempts in flight after all ended", n.ID, l)
		}
	}
	if _, err := c.Pick(&balancer.Call{}); err != nil {
		t.Errorf("after the churn: %v", err)
	}
}

func sticky(t *testing.T, policy balancer.Policy) {
	c := start(t, policy, 1, 1, 1, 1, 1, 1, 1, 1)
	home := map[uint64]*balancer.Node{}
	pick := func(k uint64) *balancer.Node {
		n, err := c.Pick(&balancer.Call{Hash: k, HasHash: true})
		if err != nil {
			t.Fatal(err)
		}
		n.Done(balancer.Now(), resilience.Outcome{})
		return n
	}
	keys := make([]uint64, 1000)
	for i := range keys {
		keys[i] = balancer.HashString(fmt.Sprint(i))
		home[keys[i]] = pick(keys[i])
	}
	lost := home[keys[0]]
	c.SetState(lost, balancer.Failed, nil)
	for _, k := range keys {
		if n := pick(k); home[k] != lost && n != home[k] {
			t.Fatalf("a key moved from %s to %s because %s was lost", home[k].ID, n.ID, lost.ID)
		}
	}
	c.SetState(lost, balancer.Ready, nil)
	for _, k := range keys {
		if n := pick(k); n != home[k] {
			t.Fatalf("a key did not return to %s", home[k].ID)
		}
	}
}

package pick

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

var policies = []struct {
	name   string
	policy balancer.Policy
	keyed  bool
}{
	{"round_robin", balancer.RoundRobin{}, false},
	{"random", balancer.Random{}, false},
	{"least_request", balancer.LeastRequest{}, false},
	{"peak_ewma", balancer.PeakEWMA{}, false},
	{"ring_hash", balancer.RingHash{}, true},
	{"maglev", balancer.Maglev{}, true},
}

var sizes = []int{10, 1000, 100_000}

// serve is a Balancer with n endpoints; what it wants connected is connected.
func serve(b *testing.B, policy balancer.Policy, n, subset int) *balancer.Balancer {
	b.Helper()
	s := &resolver.Snapshot{Service: "bench", State: resolver.Known}
	for i := range n {
		s.Endpoints = append(s.Endpoints, &resolver.Endpoint{
			ID:     resolver.ID{Source: "aws", Node: fmt.Sprintf("node-%07d", i), Instance: "bench"},
			Addr:   fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255),
			Weight: 1,
		})
	}
	nodes := make([]*balancer.Node, 0, n)
	lb, err := balancer.New(balancer.Config{Policy: policy, SubsetSize: subset}, balancer.Connector{
		Connect: func(n *balancer.Node) balancer.Conn { nodes = append(nodes, n); return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(lb.Close)
	lb.Update(s)
	for _, n := range nodes {
		lb.SetState(n, balancer.Ready, nil)
	}
	lb.Update(&resolver.Snapshot{Service: "bench", State: resolver.Known, Endpoints: s.Endpoints}) // publishes the last ones
	return lb
}

// BenchmarkPick is one pick and nothing else; what it counts in flight is taken
// back in bulk, outside of the time.
func BenchmarkPick(b *testing.B) {
	each(b, func(b *testing.B, lb *balancer.Balancer, keyed bool) {
		picked := make([]*balancer.Node, 4096)
		calls := make([]balancer.Call, 4096)
		i := 0
		for b.Loop() {
			if i == len(picked) {
				b.StopTimer()
				for _, n := range picked {
					n.Done(balancer.Now(), resilience.Outcome{})
				}
				clear(calls)
				i = 0
				b.StartTimer()
			}
			c := &calls[i]
			c.Hash, c.HasHash = uint64(i)*0x9E3779B97F4A7C15, keyed
			n, err := lb.Pick(c)
			if err != nil {
				b.Fatal(err)
			}
			picked[i] = n
			i++
		}
	})
}

// BenchmarkPickDone is a whole attempt: the start read from the clock, pick, done
// with a success (which reads the clock again).
func BenchmarkPickDone(b *testing.B) {
	each(b, func(b *testing.B, lb *balancer.Balancer, keyed bool) {
		attempt := attempts(b, lb, keyed)
		for b.Loop() {
			attempt()
		}
	})
}

// BenchmarkPickDoneParallel is BenchmarkPickDone on all cores.
func BenchmarkPickDoneParallel(b *testing.B) {
	each(b, func(b *testing.B, lb *balancer.Balancer, keyed bool) {
		b.ResetTimer() // the set-up is not measured
		b.RunParallel(func(pb *testing.PB) {
			attempt := attempts(b, lb, keyed)
			for pb.Next() {
				attempt()
			}
		})
	})
}

func attempts(b *testing.B, lb *balancer.Balancer, keyed bool) func() {
	c := new(balancer.Call)
	i := uint64(0)
	success := resilience.Outcome{Class: resilience.Success}
	return func() {
		i++
		*c = balancer.Call{Hash: i * 0x9E3779B97F4A7C15, HasHash: keyed}
		start := balancer.Now()
		n, err := lb.Pick(c)
		if err != nil {
			b.Error(err)
			return
		}
		n.Done(start, success)
	}
}

func each(b *testing.B, run func(*testing.B, *balancer.Balancer, bool)) {
	for _, p := range policies {
		for _, n := range sizes {
			// All endpoints connected: at 100k what is measured is mostly the memory
			// behind them, which a pick at random misses in the caches.
			b.Run(fmt.Sprintf("%s/%d", p.name, n), func(b *testing.B) {
				lb := serve(b, p.policy, n, -1)
				b.ReportAllocs()
				run(b, lb, p.keyed)
			})
			// The default: a subset of 16 is connected.
			b.Run(fmt.Sprintf("%s/%d-subset", p.name, n), func(b *testing.B) {
				lb := serve(b, p.policy, n, 0)
				b.ReportAllocs()
				run(b, lb, p.keyed)
			})
		}
	}
}

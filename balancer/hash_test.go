package balancer

import (
	"fmt"
	"math"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

func homes(t *testing.T, r *rig, keys int) []*Node {
	t.Helper()
	out := make([]*Node, keys)
	for i := range out {
		n, err := r.Pick(&Call{Hash: HashString(fmt.Sprint("key", i)), HasHash: true})
		if err != nil {
			t.Fatal(err)
		}
		n.Done(Now(), neutral)
		out[i] = n
	}
	return out
}

// Losing one of twenty nodes moves its keys; others hardly.
func TestKeysMove(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy Policy
		most   float64 // of all keys
	}{{RingHash{}, 0.11}, {Maglev{}, 0.13}} {
		r := newRig(t, Config{Policy: c.policy, SubsetSize: -1, SlowStart: -1})
		list := eps(aws, "a", 20)
		r.Update(snapshotOf(list))
		r.connectAll()
		before := homes(t, r, 5000)
		r.Update(snapshotOf(append(list[:7:7], list[8:]...)))
		moved, gone := 0, 0
		for i, n := range homes(t, r, 5000) {
			if before[i] != n {
				moved++
			}
			if before[i].ID == list[7].ID {
				gone++
			}
		}
		t.Logf("%T: %d of 5000 keys were lost, %d moved", c.policy, gone, moved)
		if f := float64(moved) / 5000; moved < gone || f > c.most {
			t.Errorf("%T: %.3f of the keys moved", c.policy, f)
		}
		r.Update(snapshotOf(list))
		r.connectAll()
		for i, n := range homes(t, r, 5000) {
			if before[i].ID != n.ID {
				t.Fatalf("%T: a key did not come home", c.policy)
			}
		}
	}
}

func TestKeysFollowWeights(t *testing.T) {
	t.Parallel()
	for _, policy := range []Policy{RingHash{MinRing: 4096, MaxRing: 65536}, Maglev{}} {
		r := newRig(t, Config{Policy: policy, SubsetSize: -1})
		r.Update(snapshotOf(with(eps(aws, "a", 4), func(i int, ep *resolver.Endpoint) { ep.Weight = uint32(i + 1) })))
		r.connectAll()
		counts := map[uint32]float64{}
		for _, n := range homes(t, r, 20000) {
			counts[n.Endpoint().Weight] += 1.0 / 20000
		}
		for w, got := range counts {
			if want := float64(w) / 10; math.Abs(got-want) > 0.25*want {
				t.Errorf("%T: weight %d has %.3f of the keys", policy, w, got)
			}
		}
	}
}

// One hot key must not load a node above ceil(1.25 of its share).
func TestBoundedLoad(t *testing.T) {
	t.Parallel()
	for _, policy := range []Policy{RingHash{}, Maglev{}} {
		r := newRig(t, Config{Policy: policy, SubsetSize: -1})
		r.Update(snapshotOf(with(eps(aws, "a", 8), func(i int, ep *resolver.Endpoint) { ep.Weight = uint32(1 + i%2) })))
		r.connectAll()
		var open []*Node
		for i := range 400 {
			n, err := r.Pick(&Call{Hash: 42, HasHash: true})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, n)
			if bound := math.Ceil(1.25 * n.Weight() / 12 * float64(i+1)); float64(n.Load().InFlight()) > bound {
				t.Fatalf("%T: %d in flight on one of weight %v, bound %v of %d", policy, n.Load().InFlight(), n.Weight(), bound, i+1)
			}
		}
		for _, n := range open {
			n.Done(Now(), success)
		}
		if got := r.Status().InFlight; got != 0 {
			t.Errorf("%T: %d in flight after all ended", policy, got)
		}
		first, _ := r.Pick(&Call{Hash: 42, HasHash: true})
		if first != open[0] {
			t.Errorf("%T: the key did not come home", policy)
		}
	}
}

func TestSkewedTables(t *testing.T) {
	t.Parallel()
	list := with(eps(aws, "a", 1000), func(i int, ep *resolver.Endpoint) {
		if i == 500 {
			ep.Weight = resolver.MaxWeight
		}
	})
	for _, policy := range []Policy{RingHash{}, Maglev{}, RoundRobin{}, Random{}, LeastRequest{}, PeakEWMA{}} {
		r := newRig(t, Config{Policy: policy, SubsetSize: -1, SubsetKey: "k"})
		r.Update(snapshotOf(list))
		r.connectAll()
		heavy := 0
		for i := range 1000 {
			n, err := r.Pick(&Call{Hash: HashString(fmt.Sprint(i)), HasHash: true})
			if err != nil {
				t.Fatal(err)
			}
			if n.Weight() > 1 {
				heavy++
			}
			n.Done(Now(), neutral)
		}
		// A ring gives each node an entry in any case, so the light ones have more there.
		if _, ring := policy.(RingHash); heavy < 950 && !ring {
			t.Errorf("%T: the heavy node got %d of 1000, its share is 985", policy, heavy)
		}
	}
}

func TestWheel(t *testing.T) {
	t.Parallel()
	node := func(w float64) *Node {
		n := &Node{}
		n.weight.Store(math.Float32bits(float32(w)))
		return n
	}
	for _, weights := range [][]float64{{1, 2}, {65535, 1, 1}, {1, 1, 65535}, {0.1, 65535}, {3, 1, 4, 1, 5, 9, 2, 6}} {
		nodes, sum := []*Node{}, 0.0
		for _, w := range weights {
			nodes = append(nodes, node(w))
			sum += w
		}
		w := newWheel(nodes)
		counts := make([]float64, len(nodes))
		const n = 1 << 20
		for i := range uint64(n) {
			counts[w.at(i<<44+1)] += 1.0 / n
		}
		for i := range counts {
			if math.Abs(counts[i]-weights[i]/sum) > 1e-5 {
				t.Errorf("%v: index %d has %.6f", weights, i, counts[i])
			}
		}
		if w.at(0) != 0 || w.at(math.MaxUint64) != len(nodes)-1 {
			t.Error("the ends of the wheel")
		}
	}
	if newWheel([]*Node{node(2), node(2)}) != nil || newWheel(nil) != nil {
		t.Error("equal weights need no wheel")
	}
}

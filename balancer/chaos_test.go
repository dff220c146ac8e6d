package balancer

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// A pick that begins after a connection's Close never yields its node.
func TestNoPickAfterClose(t *testing.T) {
	t.Parallel()
	for _, policy := range []Policy{PeakEWMA{}, RoundRobin{}, Maglev{TableSize: 1009}} {
		closed := map[*Node]*atomic.Bool{} // complete before the picks begin
		var mu sync.Mutex
		b, err := New(Config{Policy: policy, SubsetSize: -1, SlowStart: -1, Local: aws}, Connector{Connect: func(n *Node) Conn {
			n.state.Store(uint32(Ready))
			flag := new(atomic.Bool)
			mu.Lock()
			closed[n] = flag
			mu.Unlock()
			return closeFunc(func() { flag.Store(true) })
		}})
		if err != nil {
			t.Fatal(err)
		}
		list := append(eps(aws, "a", 8), eps(gcp, "g", 8)...)
		b.Update(snapshotOf(list))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				gone := map[*Node]bool{}
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					for n, f := range closed {
						if f.Load() {
							gone[n] = true
						}
					}
					mu.Unlock()
					for range 50 {
						n, err := b.Pick(&Call{})
						if err != nil {
							continue
						}
						if gone[n] {
							t.Errorf("%v was picked after its connection was closed", n.ID)
							n.undo()
							return
						}
						n.Done(Now(), success)
					}
				}
			})
		}
		for i := range 300 {
			k := i % len(list)
			b.Update(snapshotOf(list[:k], list[k+1:]))
		}
		close(stop)
		wg.Wait()
		b.Close()
		for n, f := range closed {
			if !f.Load() || n.Load().InFlight() != 0 {
				t.Errorf("%v: closed %v, %d in flight", n.ID, f.Load(), n.Load().InFlight())
			}
		}
	}
}

type closeFunc func()

func (f closeFunc) Close() { f() }

// chaos drives a Balancer with random snapshots and states, and checks what must
// always hold.
func chaos(t *testing.T, seed uint64, steps int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	policies := []Policy{nil, PeakEWMA{Decay: time.Second}, LeastRequest{Choices: 3}, RoundRobin{}, Random{}, RingHash{}, Maglev{TableSize: 251}}
	cfg := Config{
		Policy:        policies[rnd.IntN(len(policies))],
		SubsetSize:    []int{0, -1, 1, 3}[rnd.IntN(4)],
		WarmConns:     []int{0, -1, 5}[rnd.IntN(3)],
		FailbackAfter: []time.Duration{0, -1, 1}[rnd.IntN(3)],
		SlowStart:     []time.Duration{0, -1, 1}[rnd.IntN(3)],
		PanicBelow:    []float64{0, -1, 1}[rnd.IntN(3)],
	}
	places := []resolver.Locality{aws, awsB, awsUS, gcp, azure, {}}
	cfg.Local = places[rnd.IntN(len(places))]
	r := newRig(t, cfg)
	var last *resolver.Snapshot
	for range steps {
		switch rnd.IntN(4) {
		case 0:
			s := &resolver.Snapshot{State: resolver.State(rnd.IntN(4)), Service: "chaos"}
			if last != nil { // most endpoints stay as they were
				for _, ep := range last.Endpoints {
					if rnd.IntN(4) > 0 {
						s.Endpoints = append(s.Endpoints, ep)
					}
				}
			}
			for range rnd.IntN(30) {
				if rnd.IntN(20) == 0 {
					s.Endpoints = append(s.Endpoints, nil)
					continue
				}
				s.Endpoints = append(s.Endpoints, &resolver.Endpoint{
					ID:       resolver.ID{Instance: fmt.Sprint(rnd.IntN(60))},
					Addr:     fmt.Sprint(rnd.IntN(3)),
					Locality: places[rnd.IntN(len(places))],
					Weight:   []uint32{0, 1, 100, resolver.MaxWeight, math.MaxUint32}[rnd.IntN(5)],
					Health:   resolver.Health(rnd.IntN(4)),
				})
			}
			if rnd.IntN(2) == 0 {
				s.Endpoints = repaired(s.Endpoints)
			}
			r.Update(s)
			last = s
			last.Endpoints = repaired(s.Endpoints)
		case 1:
			for _, n := range r.open() {
				if rnd.IntN(2) == 0 {
					r.SetState(n, ConnState(rnd.IntN(4)), []error{nil, errRefused}[rnd.IntN(2)])
				}
			}
		case 2:
			r.flush()
		case 3:
			for i := range 20 {
				c := &Call{Hash: rnd.Uint64(), HasHash: i%2 == 0}
				for range 1 + i%4 {
					n, err := r.Pick(c)
					if (n == nil) == (err == nil) {
						t.Fatal("a pick returns a node or an error", n, err)
					}
					if n != nil {
						if !n.Ready() {
							t.Fatal("picked a node that is not ready", n.State())
						}
						n.Done(Now(), success)
					}
				}
			}
		}
		check(t, r)
	}
	r.Close()
	if open := r.open(); len(open) != 0 {
		t.Fatalf("%d connections are open after Close", len(open))
	}
	if n := r.Balancer.inflight.Load(); n != 0 {
		t.Fatalf("%d in flight", n)
	}
}

func check(t *testing.T, r *rig) {
	t.Helper()
	s := r.Status()
	sum, ready := 0.0, 0
	for i, tier := range s.Tiers {
		for name, v := range map[string]float64{"share": tier.Share, "healthy": tier.Healthy, "usable": tier.Usable} {
			if !(v >= 0 && v <= 1+epsilon) {
				t.Fatalf("tier %d: %s is %v", i, name, v)
			}
		}
		sum += tier.Share
		for j, n := range tier.Nodes {
			if !(n.Weight > 0 && n.Weight <= resolver.MaxWeight && n.Ramp > 0 && n.Ramp <= 1) {
				t.Fatalf("weight %v, ramp %v", n.Weight, n.Ramp)
			}
			if j > 0 && tier.Nodes[j-1].ID.Compare(n.ID) >= 0 {
				t.Fatal("the nodes of a tier are not in order")
			}
			if n.State == Ready {
				ready++
			}
			if n.Health == resolver.Critical && !tier.Panic {
				t.Fatal("a critical endpoint is chosen without panic")
			}
		}
		if r.cfg.SubsetSize > 0 && len(tier.Nodes) > max(r.cfg.SubsetSize, r.cfg.WarmConns) {
			t.Fatalf("%d nodes in a subset of %d", len(tier.Nodes), r.cfg.SubsetSize)
		}
	}
	if len(s.Tiers) > 0 && math.Abs(sum-1) > 1e-6 {
		t.Fatalf("shares sum up to %v", sum)
	}
	if n, err := r.Pick(&Call{}); err == nil {
		n.undo()
	} else if ready > 0 && !errors.Is(err, ErrNotReady) {
		t.Fatalf("%d nodes are ready: %v", ready, err)
	}
}

func TestChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		chaos(t, seed, 40)
	}
}

func FuzzChaos(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { chaos(t, seed, 60) })
}

func FuzzSample(f *testing.F) {
	f.Add(uint64(0), uint32(0), uint32(1), true, false)
	f.Add(uint64(math.MaxUint64), uint32(math.MaxUint32), uint32(math.MaxUint16), false, true)
	f.Fuzz(func(t *testing.T, word uint64, now, sample uint32, success, silent bool) {
		sample = max(1, sample&math.MaxUint16)
		inv := inverseDecay(defaultDecay)
		o := resilience.Outcome{Class: resilience.Failure, Silent: silent}
		if success {
			o = resilience.Outcome{Class: resilience.Success}
		}
		v := next(word, now, sample, o, inv)
		_, was, failed := unpack(word)
		_, latency, failures := unpack(v)
		if !success && (latency < was || latency != 0 && was == 0) {
			t.Errorf("a failure changed the latency from %d to %d", was, latency)
		}
		if success && latency > max(was, sample) || success && latency < min(was, sample) {
			t.Errorf("sample %d moved %d to %d", sample, was, latency)
		}
		if success && failures > failed {
			t.Errorf("a success raised failures from %d to %d", failed, failures)
		}
		if c := failureCost(v, now, inv); c < 0 || c > penalty {
			t.Errorf("cost %d", c)
		}
		if a, b := latencyLead(word, v, now, inv), latencyLead(v, word, now, inv); a != -b {
			t.Errorf("a leads b by %d, b leads a by %d", a, b)
		}
	})
}

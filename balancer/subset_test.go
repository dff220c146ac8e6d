package balancer

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

func (r *rig) chosen() map[resolver.ID]*Node {
	out := map[resolver.ID]*Node{}
	r.Balancer.mu.Lock()
	defer r.Balancer.mu.Unlock()
	for _, t := range r.tiers {
		for _, n := range t.nodes {
			out[n.ID] = n
		}
	}
	return out
}

func TestSubsetChurn(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	list := eps(aws, "a", 1000)
	r.Update(snapshotOf(list))
	r.connectAll()
	before := r.chosen()
	if len(before) != 16 {
		t.Fatalf("%d chosen", len(before))
	}
	// A tenth of the others goes: nothing happens here.
	var rest []*resolver.Endpoint
	for i, ep := range list {
		if before[ep.ID] != nil || i%10 != 0 {
			rest = append(rest, ep)
		}
	}
	r.Update(snapshotOf(rest))
	for id, n := range r.chosen() {
		if before[id] != n {
			t.Errorf("%v was chosen though nothing of the subset changed", id)
		}
	}
	// One of the subset goes: one comes.
	var without []*resolver.Endpoint
	lost := 0
	for _, ep := range rest {
		if before[ep.ID] != nil && lost == 0 {
			lost++
			continue
		}
		without = append(without, ep)
	}
	r.Update(snapshotOf(without))
	after, kept := r.chosen(), 0
	for id, n := range after {
		if before[id] == n {
			kept++
		}
	}
	if kept != 15 || len(after) != 16 {
		t.Errorf("%d of %d were kept", kept, len(after))
	}
	// Everything comes back, and so does the subset, whatever the way there.
	r.Update(snapshotOf(list))
	fresh := newRig(t, Config{})
	fresh.Update(snapshotOf(list))
	for id := range r.chosen() {
		if fresh.chosen()[id] == nil {
			t.Errorf("%v is chosen after churn and not from scratch", id)
		}
	}
}

// Clients with different keys spread over all endpoints, by weight.
func TestSubsetSpread(t *testing.T) {
	t.Parallel()
	list := with(eps(aws, "a", 50), func(i int, ep *resolver.Endpoint) { ep.Weight = uint32(1 + i%2) })
	s := snapshotOf(list)
	heavy, light := 0, 0
	for i := range 200 {
		r := newRig(t, Config{SubsetSize: 5, SubsetKey: string(rune('a' + i))})
		r.Update(s)
		for _, n := range r.chosen() {
			if n.Endpoint().Weight == 2 {
				heavy++
			} else {
				light++
			}
		}
	}
	if ratio := float64(heavy) / float64(light); math.Abs(ratio-1.9) > 0.35 {
		t.Errorf("endpoints of weight 2 were chosen %.2f times as often as those of weight 1", ratio)
	}
}

// The subset dies and the rest lives: the service must come back by itself.
func TestDeadSubsetIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.Close()
		r.Update(snapshotOf(eps(aws, "a", 1000)))
		r.connectAll()
		r.advance(time.Minute)
		dead := r.chosen()
		r.auto = func(n *Node) (ConnState, error) {
			if dead[n.ID] != nil {
				return Failed, errRefused
			}
			return Ready, nil
		}
		for _, n := range dead {
			r.SetState(n, Failed, errRefused)
		}
		r.flush()
		if _, err := r.Pick(&Call{}); err == nil {
			t.Fatal("picked a dead endpoint")
		}
		r.advance(benchAlone)
		got := r.shares(t, 1000, byName)
		if len(got) != 16 {
			t.Errorf("%d endpoints serve after the subset died", len(got))
		}
		if n := len(r.open()); n != 16 {
			t.Errorf("%d connections", n)
		}
		// They live again: after a while they have their places back.
		r.auto = nil
		r.advance(2 * benchFor)
		for id := range r.chosen() {
			if dead[id] == nil {
				t.Errorf("%v is chosen and not of the subset", id)
			}
		}
		// One of sixteen dies.
		for _, n := range r.chosen() {
			r.SetState(n, Failed, errRefused)
			break
		}
		r.advance(benchAfter + time.Second)
		if got := r.shares(t, 1000, byName); len(got) != 16 {
			t.Errorf("%d endpoints serve after one died", len(got))
		}
	})
}

// All is dead: the attempts go round, at a bounded rate, with bounded memory.
func TestAllDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.Close()
		r.auto = func(*Node) (ConnState, error) { return Failed, errRefused }
		r.Update(snapshotOf(eps(aws, "a", 100)))
		for range 300 {
			r.connectAll()
			r.advance(time.Second)
		}
		if n := len(r.open()); n > 16 {
			t.Errorf("%d connections", n)
		}
		if n := r.connects.Load(); n < 100 || n > 16*40 {
			t.Errorf("%d attempts in five minutes", n)
		}
		r.auto = nil
		r.advance(maxAlone + 5*time.Second)
		r.connectAll()
		if _, err := r.Pick(&Call{}); err != nil {
			t.Error(err)
		}
	})
}

// Health that flaps once a second must not connect and close once a second.
func TestFlapsKeepConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.Close()
		list := eps(aws, "a", 100)
		r.Update(snapshotOf(list))
		r.connectAll()
		var victim int
		for i, ep := range list {
			if r.chosen()[ep.ID] != nil {
				victim = i
			}
		}
		node := r.chosen()[list[victim].ID]
		flap := with(list, func(i int, ep *resolver.Endpoint) {})
		copy(flap, list)
		sick := *list[victim]
		sick.Health = resolver.Critical
		flap[victim] = &sick
		for range 20 {
			r.Update(snapshotOf(flap))
			r.advance(500 * time.Millisecond)
			if r.chosen()[node.ID] != nil {
				t.Fatal("a critical endpoint is chosen")
			}
			r.Update(snapshotOf(list))
			r.advance(500 * time.Millisecond)
			if r.chosen()[node.ID] != node {
				t.Fatal("the endpoint's connection was closed")
			}
		}
		if n := r.connects.Load(); n != 17 {
			t.Errorf("%d connections were made, want 16 and one for the flapping one", n)
		}
		r.advance(lingerAfter + time.Second)
		if n := len(r.open()); n != 16 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestSlowStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Policy: RoundRobin{}})
		defer r.Close()
		list := eps(aws, "a", 4)
		r.Update(snapshotOf(list[:3]))
		r.connectAll()
		for _, n := range r.Status().Tiers[0].Nodes {
			if n.Ramp != 1 {
				t.Errorf("the first set is in slow start: %v", n)
			}
		}
		r.Update(snapshotOf(list))
		r.advance(time.Second)
		name := list[3].ID.Instance
		if got := r.shares(t, 3100, byName)[name]; math.Abs(got-0.1/3.1) > 0.005 {
			t.Errorf("the new endpoint got %.3f, want %.3f", got, 0.1/3.1)
		}
		r.advance(14 * time.Second)
		if got := r.shares(t, 3500, byName)[name]; math.Abs(got-0.5/3.5) > 0.02 {
			t.Errorf("half way the new endpoint got %.3f, want %.3f", got, 0.5/3.5)
		}
		r.advance(16 * time.Second)
		if got := r.shares(t, 4000, byName)[name]; math.Abs(got-0.25) > 0.001 {
			t.Errorf("the warm endpoint got %.3f", got)
		}
		r.Balancer.mu.Lock()
		if len(r.ramping) != 0 || !r.timerAt.IsZero() {
			t.Error("a timer runs and nothing ramps")
		}
		r.Balancer.mu.Unlock()
		r.Update(snapshotOf(critical(list, 1)))
		r.advance(time.Second)
		r.Update(snapshotOf(list))
		r.advance(time.Millisecond)
		if got := r.Status().Tiers[0].Nodes[0].Ramp; math.Abs(got-rampFloor) > 1e-6 {
			t.Errorf("an endpoint that was critical came back with %.2f of its weight", got)
		}
	})
}

package balancer

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

func TestDivide(t *testing.T) {
	t.Parallel()
	full := func(h ...float64) []float64 { // health to capacity, as Envoy's table
		for i := range h {
			h[i] = min(1, 1.4*h[i])
		}
		return h
	}
	for _, c := range []struct{ health, want []float64 }{
		{full(1, 1), []float64{1, 0}},
		{full(0.72, 0.72), []float64{1, 0}},
		{full(0.71, 0.71), []float64{0.994, 0.006}},
		{full(0.5, 0.5), []float64{0.7, 0.3}},
		{full(0.5, 1, 1), []float64{0.7, 0.3, 0}},
		{full(0, 1), []float64{0, 1}},
		{full(0.25, 0.25), []float64{0.5, 0.5}},
		{full(0.25, 0.25, 0.2), []float64{0.357, 0.357, 0.286}},
		{full(0, 0), []float64{1, 0}},
		{nil, nil},
	} {
		got := divide(c.health)
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 0.001 {
				t.Errorf("divide(%.3f) = %.3f, want %.3f", c.health, got, c.want)
			}
		}
	}
}

// advance lets time pass, and connects what is new.
func (r *rig) advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	r.connectAll()
	time.Sleep(publishEvery)
	synctest.Wait()
}

func (r *rig) share(cloud string) (out float64) {
	for _, t := range r.Status().Tiers {
		if t.Locality.Cloud == cloud {
			out += t.Share
		}
	}
	return out
}

func critical(list []*resolver.Endpoint, n int) []*resolver.Endpoint {
	return with(list, func(i int, ep *resolver.Endpoint) {
		if i < n {
			ep.Health = resolver.Critical
		}
	})
}

func TestFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Local: aws, CloudOrder: []string{"gcp", "azure"}})
		defer r.Close()
		near, far := eps(aws, "a", 10), eps(gcp, "g", 10)
		r.Update(snapshotOf(near, far))
		r.connectAll()
		r.advance(time.Second)
		if n := len(r.open()); n != 12 {
			t.Errorf("%d connections, want 10 and 2 warm ones", n)
		}
		if got := r.shares(t, 100, byCloud)["aws"]; got != 1 {
			t.Errorf("aws got %.2f of a healthy set", got)
		}
		// Half of the near cloud turns critical: 70 to 30.
		r.Update(snapshotOf(critical(near, 5), far))
		r.advance(time.Second)
		if got := r.shares(t, 4000, byCloud)["gcp"]; math.Abs(got-0.3) > 0.03 {
			t.Errorf("gcp got %.3f, want 0.3", got)
		}
		// All of it is refused: everything moves at once.
		r.auto = func(n *Node) (ConnState, error) {
			if byCloud(n) == "aws" {
				return Failed, errRefused
			}
			return Ready, nil
		}
		for _, n := range r.open() {
			if byCloud(n) == "aws" {
				r.SetState(n, Failed, errRefused)
			}
		}
		if got := r.shares(t, 100, byCloud)["gcp"]; got != 1 {
			t.Errorf("gcp got %.3f at once after the loss", got)
		}
		r.advance(20 * time.Millisecond)
		if got := r.share("gcp"); got != 1 {
			t.Errorf("gcp's share is %.3f after the loss", got)
		}
		// It comes back: nothing moves for 10 s, then a tenth per second.
		r.auto = nil
		r.Update(snapshotOf(near, far))
		for _, n := range r.open() {
			r.SetState(n, Ready, nil)
		}
		r.advance(9 * time.Second)
		if got := r.share("aws"); got > epsilon {
			t.Errorf("aws got %.3f before it proved itself", got)
		}
		last := 0.0
		for i := range 12 {
			r.advance(time.Second)
			got := r.share("aws")
			if got < last || got-last > 0.11 {
				t.Errorf("second %d: aws went from %.2f to %.2f", i, last, got)
			}
			last = got
		}
		if last != 1 {
			t.Errorf("aws got %.2f in the end", last)
		}
		// Again, with a flap while it recovers: the wait begins anew.
		r.Update(snapshotOf(critical(near, 10), far))
		r.advance(time.Second)
		r.Update(snapshotOf(near, far))
		r.advance(8 * time.Second)
		r.Update(snapshotOf(critical(near, 9), far))
		r.advance(time.Second)
		r.Update(snapshotOf(near, far))
		r.advance(8 * time.Second)
		if got := r.share("aws"); got > epsilon {
			t.Errorf("aws got %.3f, and was not healthy for 10 s", got)
		}
		// The far cloud dies meanwhile: nobody else has capacity.
		r.Update(snapshotOf(near))
		r.advance(time.Millisecond)
		if got := r.share("aws"); got != 1 {
			t.Errorf("aws got %.3f, and nobody else is left", got)
		}
	})
}

func TestPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Local: aws})
		defer r.Close()
		near, far := eps(aws, "a", 10), eps(gcp, "g", 10)
		r.Update(snapshotOf(critical(near, 8), far))
		r.connectAll()
		r.advance(time.Second)
		if s := r.Status().Tiers[0]; s.Panic || len(s.Nodes) != 2 {
			t.Errorf("gcp can carry it all, and aws is in panic: %+v", s)
		}
		r.Update(snapshotOf(critical(near, 8), critical(far, 8)))
		r.advance(time.Second)
		for _, s := range r.Status().Tiers {
			if !s.Panic || len(s.Nodes) != 10 || math.Abs(s.Share-0.5) > 0.01 {
				t.Errorf("%v: panic %v, %d nodes, share %.2f", s.Locality, s.Panic, len(s.Nodes), s.Share)
			}
		}
		if got := r.shares(t, 1000, byName); len(got) != 20 {
			t.Errorf("%d endpoints took traffic in panic", len(got))
		}
		r.Update(snapshotOf(near, far))
		r.advance(time.Minute)
		if s := r.Status().Tiers[0]; s.Panic || s.Share != 1 {
			t.Errorf("after the panic: %+v", s)
		}
	})
}

func TestAllCriticalWithoutPanic(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{PanicBelow: -1})
	r.Update(snapshotOf(critical(eps(aws, "a", 3), 3)))
	if _, err := r.Pick(&Call{}); err == nil || len(r.open()) != 0 {
		t.Errorf("%v, %d connections", err, len(r.open()))
	} else if got := err.Error(); got != `balancer: no endpoint: 3 of 3 instances of service "pay" are critical in the catalog; check their health checks` {
		t.Error(got)
	}
}

// A tier that cannot be used must not keep its share while another can.
func TestShareWithoutReadyNode(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Local: aws})
	r.Update(snapshotOf(eps(aws, "a", 4), eps(gcp, "g", 4)))
	for _, n := range r.open() { // the near cloud never answers
		if byCloud(n) == "aws" {
			r.SetState(n, Connecting, nil)
		}
	}
	r.Balancer.mu.Lock()
	r.warm, r.now = true, time.Now()
	r.settle()
	for _, n := range r.open() {
		if byCloud(n) == "gcp" {
			r.SetState(n, Ready, nil)
		}
	}
	r.flush()
	if got := r.shares(t, 100, byCloud)["gcp"]; got != 1 {
		t.Errorf("gcp got %.2f", got)
	}
}

// A tier that appears while another serves proves itself like one that recovers.
func TestNewTier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Local: aws})
		near, far := eps(aws, "a", 3), eps(gcp, "g", 3)
		r.Update(snapshotOf(far))
		r.connectAll()
		r.advance(time.Second)
		r.Update(snapshotOf(near, far))
		r.advance(9 * time.Second)
		if got := r.share("aws"); got > epsilon {
			t.Errorf("the new cloud took %.2f at once", got)
		}
		r.advance(30 * time.Second)
		if got := r.share("aws"); got != 1 {
			t.Errorf("in the end the new cloud took %.2f", got)
		}
	})
}

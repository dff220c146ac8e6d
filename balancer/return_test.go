package balancer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// A tier without a share must get no call, also when the tiers before it divide
// the load.
func TestThirdTierStaysOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Local: aws, CloudOrder: []string{"gcp", "azure"}})
		r.Update(snapshotOf(critical(eps(aws, "a", 10), 5), eps(gcp, "g", 10), eps(azure, "z", 10)))
		r.connectAll()
		r.advance(time.Second)
		got := r.shares(t, 2000, byCloud)
		if got["azure"] > 0 || got["gcp"] == 0 || got["aws"] == 0 {
			t.Errorf("shares %v; aws carries 70 %%, gcp the rest", got)
		}
	})
}

// The wait begins with the recovery, however long the outage was.
func TestReturnAfterLongOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Local: aws})
		near, far := eps(aws, "a", 4), eps(gcp, "g", 4)
		r.Update(snapshotOf(near, far))
		r.connectAll()
		r.advance(time.Second)
		r.Update(snapshotOf(critical(near, 4), far))
		r.advance(time.Hour)
		r.Update(snapshotOf(near, far))
		r.advance(9 * time.Second)
		if got := r.share("aws"); got > epsilon {
			t.Errorf("aws got %.2f 9 s after its return", got)
		}
		r.advance(3 * time.Second)
		if got := r.share("aws"); got < 0.1 || got > 0.4 {
			t.Errorf("aws got %.2f 12 s after its return, want some tenths", got)
		}
		r.advance(10 * time.Second)
		if got := r.share("aws"); got != 1 {
			t.Errorf("aws got %.2f in the end", got)
		}
	})
}

// fromTwo is a snapshot over two sources of which aws may not have answered.
func fromTwo(near, far []*resolver.Endpoint, nearState resolver.State) *resolver.Snapshot {
	s := snapshotOf(near, far)
	s.Sources = []resolver.SourceStatus{{Source: "aws", State: nearState}, {Source: "gcp", State: resolver.Known}}
	return s
}

// A source that answers later than the others, at start, is neither new nor
// recovered: it gets its share, and its endpoints are not in slow start.
func TestLateSourceIsNoRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Local: aws})
		near, far := eps(aws, "a", 4), eps(gcp, "g", 4)
		r.Update(fromTwo(nil, far, resolver.Unknown))
		r.connectAll()
		r.advance(time.Second)
		if got := r.share("gcp"); got != 1 {
			t.Fatalf("gcp got %.2f while it is alone", got)
		}
		r.Update(fromTwo(near, far, resolver.Known))
		r.connectAll()
		r.advance(10 * time.Millisecond)
		if got := r.share("aws"); got != 1 {
			t.Errorf("aws got %.2f after its source's first answer", got)
		}
		for _, n := range r.Status().Tiers[0].Nodes {
			if n.Ramp != 1 {
				t.Errorf("%s is in slow start: %.2f", n.ID, n.Ramp)
			}
		}
		// A zone that opens later, in a source that has answered, is new.
		r.Update(fromTwo(append(near, eps(awsB, "b", 4)...), far, resolver.Known))
		r.connectAll()
		r.advance(10 * time.Millisecond)
		for _, n := range r.Status().Tiers[1].Nodes {
			if n.Ramp == 1 {
				t.Errorf("%s is not in slow start", n.ID)
			}
		}
	})
}

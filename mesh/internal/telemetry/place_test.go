package telemetry

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// Durations choose all parts of a histogram about as often, whatever the clock's tick.
func TestDrawOf(t *testing.T) {
	t.Parallel()
	for _, tick := range []time.Duration{1, 41, 100, 1000, time.Microsecond * 64, time.Millisecond, 15625 * time.Microsecond} {
		var parts [8]int
		const n = 8000
		for i := range n {
			parts[drawOf(time.Millisecond+time.Duration(i)*tick)&7]++
		}
		for i, got := range parts {
			if got < n/16 || got > n/4 {
				t.Errorf("tick %v: part %d was chosen %d times of %d", tick, i, got, n)
			}
		}
	}
}

func BenchmarkPlaces(b *testing.B) {
	p := NewRegistry(Config{Locality: resolver.Locality{Cloud: "aws", Zone: "a"}}).Places("pay")
	near := &resolver.Endpoint{Locality: resolver.Locality{Cloud: "aws", Region: "eu", Zone: "a"}}
	far := &resolver.Endpoint{Locality: resolver.Locality{Cloud: "gcp", Region: "eu", Zone: "b"}}
	p.Record(far, resilience.Outcome{}, time.Second)
	d := time.Millisecond
	for b.Loop() {
		d++
		p.Record(near, resilience.Outcome{Class: resilience.Success}, d)
	}
}

package resolver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// A registry has a bad quarter of an hour: lost, then wiped, then half wiped, then
// flapping. Nothing that the servers do changes, so no call may fail and no
// connection may be made again.
func TestCallsSurviveTheRegistry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var nw network
		const n = 6
		for i := range n {
			nw.serve(t, addr(i+1))
		}
		aws := static.New(static.Config{Name: "aws"})
		set(t, aws, "payments", n)
		m := merge(t, resolver.Source{Name: "aws", Catalog: newCache(t, aws, resolver.CacheConfig{Name: "aws"})},
			resolver.Source{Name: "gcp", Catalog: newCache(t, silent{}, resolver.CacheConfig{Name: "gcp"})})
		cc := nw.dial(t, "mesh:///payments", resolver.NewBuilder(m, resolver.BuilderConfig{}))
		calls := 0
		minutes := func(d float64) {
			t.Helper()
			for range int(d * 60) {
				if err := check(t.Context(), cc); err != nil {
					t.Fatalf("call %d: %v", calls, err)
				}
				calls++
				time.Sleep(time.Second)
			}
		}
		minutes(1)
		aws.Lose(errBroken)
		minutes(10)
		aws.Restore()
		aws.Remove("payments")
		minutes(3)
		set(t, aws, "payments", 2)
		minutes(1.5)
		set(t, aws, "payments", n)
		for range 20 {
			aws.Lose(errBroken)
			minutes(0.05)
			aws.Restore()
			minutes(0.05)
		}
		if nw.dials.Load() != n {
			t.Errorf("%d connections were made, want %d and none again", nw.dials.Load(), n)
		}
	})
}

// One endpoint's health flaps once a second: each flap is one delivery, and the
// other endpoints keep their pointers.
func TestHealthFlaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		eps := endpoints(5)
		must(t, cat.Set("payments", eps...))
		o := observe(t, merge(t, resolver.Source{Name: "aws", Catalog: newCache(t, cat, resolver.CacheConfig{})}), "payments")
		time.Sleep(2 * time.Second)
		before, count := o.now().Endpoints, o.count
		for i := range 60 {
			eps[0].Health = resolver.Health(2 * ((i + 1) % 2)) // critical, passing, …
			must(t, cat.Set("payments", eps...))
			time.Sleep(time.Second)
			s := o.now()
			for j, e := range s.Endpoints[1:] {
				if e != before[j+1] {
					t.Fatalf("flap %d: endpoint %d has a new pointer", i, j+1)
				}
			}
			if s.Endpoints[0].Health != eps[0].Health || s.Held != nil {
				t.Fatalf("flap %d: health %v, held %v", i, s.Endpoints[0].Health, s.Held)
			}
		}
		if n := o.count - count; n != 60 {
			t.Errorf("%d deliveries for 60 flaps", n)
		}
	})
}

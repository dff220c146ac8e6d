package resolver

import (
	"fmt"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// benchLists makes n endpoints in each of k sources, and a version with 1 % changed.
func benchLists(k, n int) (lists, changed [][]*Endpoint) {
	for s := range k {
		list := make([]*Endpoint, n)
		for i := range list {
			list[i] = &Endpoint{
				ID:   ID{fmt.Sprintf("cloud-%d", s), fmt.Sprintf("node-%06d", i), "payments"},
				Addr: fmt.Sprintf("10.%d.%d.%d:9000", s, i>>8&255, i&255), Weight: 1, SPIFFEID: "spiffe://td/payments",
			}
		}
		other := append([]*Endpoint(nil), list...)
		for i := 0; i < n; i += 100 {
			e := *list[i]
			e.Weight = 2
			other[i] = &e
		}
		lists, changed = append(lists, list), append(changed, other)
	}
	return lists, changed
}

func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("endpoints=%d/sources=3", n), func(b *testing.B) {
			lists, changed := benchLists(3, n/3)
			m := merger{service: "payments", sources: []Source{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
			parts := make([]*Snapshot, 3)
			for i := range parts {
				parts[i] = &Snapshot{State: Known, Endpoints: lists[i]}
			}
			flip := []*Snapshot{{State: Known, Endpoints: changed[0]}, parts[0]}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				parts[0] = flip[i&1]
				i++
				m.merge(parts)
			}
		})
	}
}

// BenchmarkGRPCState is the conversion for gRPC: all of a first snapshot, and an
// update of 1 %.
func BenchmarkGRPCState(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		lists, changed := benchLists(1, n)
		snaps := []*Snapshot{{State: Known, Endpoints: lists[0]}, {State: Known, Endpoints: changed[0]}}
		b.Run(fmt.Sprintf("endpoints=%d/first", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var c conversions
				c.acquire("payments").state(snaps[0], nil)
			}
		})
		b.Run(fmt.Sprintf("endpoints=%d/update=1%%", n), func(b *testing.B) {
			var all conversions
			c := all.acquire("payments")
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				c.state(snaps[i&1], nil)
				i++
			}
		})
	}
}

func BenchmarkDisk(b *testing.B) {
	lists, _ := benchLists(1, 10_000)
	data, err := encodeDisk("aws", "payments", lists[0], epoch)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode/endpoints=10000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encodeDisk("aws", "payments", lists[0], epoch); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode/endpoints=10000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := decodeDisk(data, "aws", "payments"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

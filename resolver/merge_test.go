package resolver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

func merge(t testing.TB, sources ...resolver.Source) *resolver.Merged {
	t.Helper()
	m, err := resolver.Merge(sources...)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close(context.Background())) })
	return m
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	cat := static.New(static.Config{})
	for want, sources := range map[string][]resolver.Source{
		"at least one": nil,
		"no Name":      {{Catalog: cat}},
		"no Catalog":   {{Name: "aws"}},
		"two sources":  {{Name: "aws", Catalog: cat}, {Name: "aws", Catalog: cat}},
	} {
		if _, err := resolver.Merge(sources...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Merge(%v): error %v, want one with %q", sources, err, want)
		}
	}
}

// Clouds fail apart: the state of one never changes what another contributes.
func TestMergeState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		aws, gcp := static.New(static.Config{Name: "aws"}), static.New(static.Config{Name: "gcp"})
		gcp.Lose(errBroken)
		set(t, aws, "payments", 2)
		begun := time.Now()
		o := observe(t, merge(t, resolver.Source{Name: "gcp", Catalog: gcp}, resolver.Source{Name: "aws", Catalog: aws},
			resolver.Source{Name: "azure", Catalog: silent{}}), "payments")
		expect := func(what string, state resolver.State, endpoints int, sources ...resolver.State) *resolver.Snapshot {
			t.Helper()
			time.Sleep(10 * time.Millisecond)
			s := o.now()
			got := make([]resolver.State, len(s.Sources))
			for i, st := range s.Sources {
				got[i] = st.State
			}
			if s.State != state || len(s.Endpoints) != endpoints || !slices.Equal(got, sources) {
				t.Fatalf("%s: %s with %d endpoints, sources %v; want %s with %d, %v", what, s.State, len(s.Endpoints), got, state, endpoints, sources)
			}
			return s
		}
		s := expect("one of three has answered", resolver.Stale, 2, resolver.Unknown, resolver.Known, resolver.Unknown)
		if s.Sources[0].Source != "gcp" || s.Sources[1].Endpoints != 2 || !errors.Is(s.Reason, errBroken) || !s.StaleSince.Equal(begun) {
			t.Errorf("%+v", s)
		}
		before := s.Endpoints
		set(t, aws, "payments", 0)
		expect("nothing is known while a source is unknown", resolver.Unknown, 0, resolver.Unknown, resolver.Known, resolver.Unknown)
		set(t, aws, "payments", 2)
		set(t, gcp, "payments", 3)
		gcp.Restore()
		s = expect("two of three", resolver.Stale, 5, resolver.Known, resolver.Known, resolver.Unknown)
		if !before[0].Equal(s.Endpoints[0]) || s.Endpoints[0].ID.Source != "aws" || s.Endpoints[4].ID.Source != "gcp" {
			t.Error("the union is not sorted by source")
		}
		kept := s.Endpoints
		aws.Lose(errBroken)
		s = expect("a lost source keeps its part", resolver.Stale, 5, resolver.Known, resolver.Stale, resolver.Unknown)
		if !slices.Equal(s.Endpoints, kept) {
			t.Error("the loss of a source changed pointers or order")
		}
	})
}

func TestMergeAllKnownIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		aws, gcp := static.New(static.Config{Name: "aws"}), static.New(static.Config{Name: "gcp"})
		o := observe(t, merge(t, resolver.Source{Name: "aws", Catalog: aws}, resolver.Source{Name: "gcp", Catalog: gcp}), "payments")
		if s := o.now(); s.State != resolver.Known || s.Reason != nil || len(s.Endpoints) != 0 || s.AsOf.IsZero() {
			t.Errorf("%+v, want known to be empty", s)
		}
	})
}

// A burst over many sources costs few merged snapshots, and the first change goes
// out at once.
func TestMergeCoalesces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		o := observe(t, merge(t, resolver.Source{Name: "a", Catalog: cat}), "payments")
		o.now()
		time.Sleep(time.Second)
		set(t, cat, "payments", 1)
		if s := o.now(); len(s.Endpoints) != 1 {
			t.Fatalf("the first change waits")
		}
		before := o.count
		for i := range 1000 { // one second of churn
			set(t, cat, "payments", i%7+1)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
		if s, n := o.now(), o.count-before; len(s.Endpoints) != 999%7+1 || n > 250 {
			t.Errorf("%d endpoints after %d deliveries, want %d after at most 250", len(s.Endpoints), n, 999%7+1)
		}
	})
}

// Two sources that list the same instance: the fresher one wins, then the order
// of the sources, whatever the order of events.
func TestMergeDuplicates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := static.New(static.Config{}), static.New(static.Config{})
		ids := func(w uint32) []resolver.Endpoint {
			var eps []resolver.Endpoint
			for _, n := range []string{"a", "b", "c"} {
				eps = append(eps, resolver.Endpoint{ID: resolver.ID{Source: "same", Instance: n}, Addr: "10.0.0.1:1", Weight: w})
			}
			return eps
		}
		must(t, one.Set("payments", ids(1)...))
		must(t, two.Set("payments", append(ids(2), resolver.Endpoint{ID: resolver.ID{Source: "same", Instance: "aa"}, Addr: "10.0.0.1:1", Weight: 2})...))
		o := observe(t, merge(t, resolver.Source{Name: "one", Catalog: one}, resolver.Source{Name: "two", Catalog: two}), "payments")
		weights := func(want ...uint32) *resolver.Snapshot {
			t.Helper()
			time.Sleep(10 * time.Millisecond)
			s := o.now()
			var got []uint32
			for _, e := range s.Endpoints {
				got = append(got, e.Weight)
			}
			if !slices.Equal(got, want) || !slices.IsSortedFunc(s.Endpoints, func(a, b *resolver.Endpoint) int { return a.ID.Compare(b.ID) }) {
				t.Errorf("weights %v, want %v in order", got, want)
			}
			return s
		}
		if s := weights(1, 2, 1, 1); s.Skipped != 3 || len(s.SkippedReasons) != 3 {
			t.Errorf("skipped %d for %q, want 3", s.Skipped, s.SkippedReasons)
		}
		one.Lose(errBroken)
		weights(2, 2, 2, 2)
		two.Lose(errBroken)
		weights(1, 2, 1, 1)
		one.Restore()
		two.Restore()
		weights(1, 2, 1, 1)
	})
}

// fails is a source whose watch ends by itself.
type fails struct{ after *resolver.Snapshot }

func (f fails) Watch(_ context.Context, _ string, deliver func(*resolver.Snapshot)) error {
	if f.after != nil {
		deliver(f.after)
	}
	return errBroken
}

func TestMergeSurvivesAWatchThatEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{Name: "aws"})
		set(t, cat, "payments", 1)
		last := &resolver.Snapshot{Service: "payments", State: resolver.Known, AsOf: time.Now(),
			Endpoints: []*resolver.Endpoint{{ID: resolver.ID{Source: "gcp"}, Addr: "10.0.0.9:9", Weight: 1}}}
		o := observe(t, merge(t, resolver.Source{Name: "aws", Catalog: cat}, resolver.Source{Name: "gcp", Catalog: fails{last}},
			resolver.Source{Name: "azure", Catalog: fails{}}), "payments")
		time.Sleep(time.Second)
		if s := o.now(); len(s.Endpoints) != 2 || s.Sources[1].State != resolver.Stale || s.Sources[2].State != resolver.Unknown || !errors.Is(s.Reason, errBroken) {
			t.Errorf("%+v, want both endpoints with the reason", s)
		}
	})
}

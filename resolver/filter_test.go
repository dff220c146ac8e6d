package resolver

import (
	"context"
	"slices"
	"testing"
)

type oneSnapshot struct{ s *Snapshot }

func (c oneSnapshot) Watch(_ context.Context, _ string, deliver func(*Snapshot)) error {
	deliver(c.s)
	return nil
}

func TestFilter(t *testing.T) {
	t.Parallel()
	a, b, c := &Endpoint{Protocol: "grpc"}, &Endpoint{Protocol: "http"}, &Endpoint{Protocol: "grpc"}
	grpcOnly := func(e *Endpoint) bool { return e.Protocol == "grpc" }
	for name, tt := range map[string]struct {
		in, want []*Endpoint
	}{
		"none":    {nil, nil},
		"all":     {[]*Endpoint{a, c}, []*Endpoint{a, c}},
		"some":    {[]*Endpoint{a, b, c}, []*Endpoint{a, c}},
		"first":   {[]*Endpoint{b, a}, []*Endpoint{a}},
		"nothing": {[]*Endpoint{b}, []*Endpoint{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := &Snapshot{Service: "s", State: Stale, Endpoints: tt.in}
			var got *Snapshot
			if err := Filter(oneSnapshot{src}, grpcOnly).Watch(t.Context(), "s", func(s *Snapshot) { got = s }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Endpoints, tt.want) || got.State != Stale || got.Service != "s" {
				t.Errorf("got %+v, want endpoints %v", got, tt.want)
			}
			if len(tt.in) == len(tt.want) && got != src {
				t.Error("a snapshot that loses nothing was copied")
			}
		})
	}
}

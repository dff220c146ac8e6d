package resolver

import "context"

// Filter is a catalog that shows only the endpoints of c for which keep is
// true. keep must depend on the endpoint alone, because snapshots that share all
// endpoints share the result.
func Filter(c Catalog, keep func(*Endpoint) bool) Catalog { return filter{c, keep} }

type filter struct {
	next Catalog
	keep func(*Endpoint) bool
}

func (f filter) Watch(ctx context.Context, service string, deliver func(*Snapshot)) error {
	return f.next.Watch(ctx, service, func(s *Snapshot) { deliver(f.apply(s)) })
}

// apply copies the snapshot only if an endpoint is left out.
func (f filter) apply(s *Snapshot) *Snapshot {
	i := 0
	for i < len(s.Endpoints) && f.keep(s.Endpoints[i]) {
		i++
	}
	if i == len(s.Endpoints) {
		return s
	}
	out := *s
	out.Endpoints = append(make([]*Endpoint, 0, len(s.Endpoints)-1), s.Endpoints[:i]...)
	for _, e := range s.Endpoints[i+1:] {
		if f.keep(e) {
			out.Endpoints = append(out.Endpoints, e)
		}
	}
	return &out
}

package resolver

import (
	"sync"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/experimental/balancer/weight"
	grpcresolver "google.golang.org/grpc/resolver"
)

type (
	endpointKey struct{}
	snapshotKey struct{}
	spiffeKey   struct{}
)

// EndpointOf is the endpoint of the catalog that a gRPC endpoint was made from,
// or nil if it is not of a Builder.
func EndpointOf(e grpcresolver.Endpoint) *Endpoint {
	ep, _ := e.Attributes.Value(endpointKey{}).(*Endpoint)
	return ep
}

// SnapshotOf is the snapshot that a resolver state was made from, critical
// endpoints included, or nil if it is not of a Builder.
func SnapshotOf(s grpcresolver.State) *Snapshot {
	if f := formOf(s); f != nil {
		return f.snap
	}
	return nil
}

// EndpointsOf is the gRPC form of all endpoints of SnapshotOf, in its order.
// Unlike State.Endpoints it has the critical ones, for a policy that would rather
// try those than none. It is nil for a state that is not of a Builder.
func EndpointsOf(s grpcresolver.State) []grpcresolver.Endpoint {
	if f := formOf(s); f != nil {
		return f.endpoints
	}
	return nil
}

// form is a snapshot and the gRPC form of its endpoints. It travels by pointer:
// gRPC compares attributes, and slices do not compare.
type form struct {
	snap      *Snapshot
	endpoints []grpcresolver.Endpoint
}

func formOf(s grpcresolver.State) *form {
	f, _ := s.Attributes.Value(snapshotKey{}).(*form)
	return f
}

// ExpectedSPIFFEID is the SPIFFE ID that the peer at an address must prove, from
// Address.Attributes, or "". Transport credentials find them in
// credentials.ClientHandshakeInfoFromContext(ctx).Attributes.
func ExpectedSPIFFEID(a *attributes.Attributes) string {
	id, _ := a.Value(spiffeKey{}).(string)
	return id
}

// WithExpectedSPIFFEID returns attributes, which may be nil, with the SPIFFE ID
// that the peer must prove.
func WithExpectedSPIFFEID(a *attributes.Attributes, id string) *attributes.Attributes {
	return a.WithValue(spiffeKey{}, id)
}

// GRPCEndpoint converts an endpoint for gRPC: the expected SPIFFE ID is part of
// the address, and so of the connection's identity; the endpoint itself and its
// weight are not.
func GRPCEndpoint(e *Endpoint, spiffeID string) grpcresolver.Endpoint {
	return newGRPCEndpoint(e, addressAttributes(spiffeID))
}

func addressAttributes(spiffeID string) *attributes.Attributes {
	if spiffeID == "" {
		return nil
	}
	return attributes.New(spiffeKey{}, spiffeID)
}

func newGRPCEndpoint(e *Endpoint, addr *attributes.Attributes) grpcresolver.Endpoint {
	g := grpcresolver.Endpoint{
		Addresses:  []grpcresolver.Address{{Addr: e.Addr, Attributes: addr}},
		Attributes: attributes.New(endpointKey{}, e),
	}
	return weight.Set(g, weight.EndpointInfo{Weight: max(e.Weight, 1)})
}

// conversions shares the gRPC form of snapshots among the channels of a Builder.
type conversions struct {
	mu  sync.Mutex
	all map[string]*conversion
}

func (c *conversions) acquire(service string) *conversion {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]*conversion{}
	}
	v := c.all[service]
	if v == nil {
		v = &conversion{addrs: map[string]*attributes.Attributes{}}
		c.all[service] = v
	}
	v.refs++
	return v
}

func (c *conversions) release(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.all[service]; v != nil {
		if v.refs--; v.refs == 0 {
			delete(c.all, service)
		}
	}
}

// conversion is the newest snapshot of a service in gRPC form. An endpoint is
// converted once, for as long as its pointer stays in the snapshots.
type conversion struct {
	refs int // guarded by conversions.mu

	mu    sync.Mutex
	snap  *Snapshot
	from  []*Endpoint             // sorted by ID
	all   []grpcresolver.Endpoint // all[i] is from[i]
	to    []grpcresolver.Endpoint // those that are not critical
	attrs *attributes.Attributes
	addrs map[string]*attributes.Attributes // by SPIFFE ID: most endpoints share one
}

func (c *conversion) state(s *Snapshot, expected func(*Endpoint) string) grpcresolver.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snap != s {
		if c.snap == nil || !sameList(c.snap.Endpoints, s.Endpoints) {
			c.convert(s, expected)
		}
		c.snap, c.attrs = s, attributes.New(snapshotKey{}, &form{s, c.all})
	}
	return grpcresolver.State{Endpoints: c.to, Attributes: c.attrs}
}

func (c *conversion) convert(s *Snapshot, expected func(*Endpoint) string) {
	// Not nil even if empty: gRPC would look at Addresses instead.
	all := make([]grpcresolver.Endpoint, 0, len(s.Endpoints))
	addrs := make(map[string]*attributes.Attributes, len(c.addrs))
	var last *attributes.Attributes
	old, critical := 0, 0
	for _, e := range s.Endpoints {
		if e.Health == Critical {
			critical++
		}
		for old < len(c.from) && c.from[old] != e && c.from[old].ID.Compare(e.ID) < 0 {
			old++
		}
		if old < len(c.from) && c.from[old] == e {
			all = append(all, c.all[old])
			if a := c.all[old].Addresses[0].Attributes; a != nil && a != last {
				addrs[ExpectedSPIFFEID(a)], last = a, a
			}
			old++
			continue
		}
		id := e.SPIFFEID
		if expected != nil {
			id = expected(e)
		}
		a, ok := addrs[id]
		if !ok {
			if a, ok = c.addrs[id]; !ok {
				a = addressAttributes(id)
			}
			addrs[id] = a
		}
		all = append(all, newGRPCEndpoint(e, a))
	}
	to := all
	if critical > 0 {
		to = make([]grpcresolver.Endpoint, 0, len(all)-critical)
		for i, e := range s.Endpoints {
			if e.Health != Critical {
				to = append(to, all[i])
			}
		}
	}
	c.from, c.all, c.to, c.addrs = s.Endpoints, all, to, addrs
}

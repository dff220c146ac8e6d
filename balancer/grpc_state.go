package balancer

import (
	"errors"
	"slices"
	"time"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/weft-mesh/weft/resolver"
)

// input is one state of the resolver: the snapshot, and the addresses as grpc
// wants them back.
type input struct {
	snapshot *resolver.Snapshot
	// endpoints are sorted by the identity of their endpoint.
	endpoints []grpcresolver.Endpoint
	identity  func(grpcresolver.Endpoint) resolver.ID
}

// address is what to dial for ep. hint is where the search probably ends, as
// nodes are connected in order.
func (in *input) address(ep *resolver.Endpoint, hint *int) grpcresolver.Address {
	i, ok := *hint, *hint < len(in.endpoints) && in.identity(in.endpoints[*hint]) == ep.ID
	if !ok {
		i, ok = in.search(ep)
	}
	*hint = i + 1
	if ok && len(in.endpoints[i].Addresses) > 0 {
		return in.endpoints[i].Addresses[0]
	}
	return grpcresolver.Address{Addr: ep.Addr}
}

func (in *input) search(ep *resolver.Endpoint) (int, bool) {
	return slices.BinarySearchFunc(in.endpoints, ep.ID, func(e grpcresolver.Endpoint, id resolver.ID) int {
		return in.identity(e).Compare(id)
	})
}

// readState takes our own snapshot from the state, or makes one of what any
// other resolver gave.
func readState(s grpcresolver.State) (*input, error) {
	if snap := resolver.SnapshotOf(s); snap != nil {
		return &input{snapshot: snap, endpoints: resolver.EndpointsOf(s), identity: meshID}, nil
	}
	eps := s.Endpoints
	if len(eps) == 0 {
		for _, a := range s.Addresses {
			eps = append(eps, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{a}})
		}
	}
	in := &input{identity: stockID}
	for _, ep := range eps {
		if len(ep.Addresses) > 0 {
			in.endpoints = append(in.endpoints, ep)
		}
	}
	if len(in.endpoints) == 0 {
		return nil, errors.New("the resolver produced no address")
	}
	byID := func(a, b grpcresolver.Endpoint) int { return stockID(a).Compare(stockID(b)) }
	slices.SortStableFunc(in.endpoints, byID)
	in.endpoints = slices.CompactFunc(in.endpoints, func(a, b grpcresolver.Endpoint) bool { return stockID(a) == stockID(b) })
	in.snapshot = &resolver.Snapshot{State: resolver.Known, AsOf: time.Now()}
	for _, ep := range in.endpoints {
		in.snapshot.Endpoints = append(in.snapshot.Endpoints, &resolver.Endpoint{
			ID: stockID(ep), Addr: ep.Addresses[0].Addr, Weight: 1,
		})
	}
	return in, nil
}

// meshID is the identity of an endpoint of a resolver.Builder.
func meshID(ep grpcresolver.Endpoint) resolver.ID {
	if e := resolver.EndpointOf(ep); e != nil {
		return e.ID
	}
	return resolver.ID{}
}

// stockID is the identity of an endpoint whose resolver knows only addresses.
func stockID(ep grpcresolver.Endpoint) resolver.ID {
	return resolver.ID{Source: "grpc", Instance: ep.Addresses[0].Addr}
}

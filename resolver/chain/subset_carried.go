package chain

import (
	"net"
	"strconv"
	"sync"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/internal/bexpr"
)

// carried decides a filter on what an endpoint carries.
type carried struct {
	filter           *bexpr.Filter
	datacenter, peer string // of the target
	dialled          bool   // it reads the address or the port
	remote           bool   // the source knows better
	pool             sync.Pool
}

// carry looks at what a filter reads; missing is a field that no endpoint carries.
func carry(f *bexpr.Filter, t *Target, missing *string) *carried {
	c := &carried{filter: f, datacenter: t.Datacenter, peer: t.Peer}
	c.pool.New = func() any { return new(bexpr.Instance) }
	f.Reads(func(field string) bool {
		switch field {
		case "Service.Meta", "Service.Tags", "Service.ID", "Node.Node":
			return false
		case "Service.Address", "Service.Port":
			c.dialled = true
		case "Service.Service", "Service.Kind", "Node.PeerName", "Service.PeerName":
		case "Node.Datacenter":
			if t.Datacenter == "" && *missing == "" { // of a peer's nodes it is not known
				*missing = field
			}
		default:
			if *missing == "" {
				*missing = field
			}
		}
		c.remote = true
		return false
	})
	return c
}

// match does not allocate: it runs for all endpoints with each change of one.
func (c *carried) match(e *resolver.Endpoint) bool {
	in := c.pool.Get().(*bexpr.Instance)
	in.Node.Node, in.Node.Datacenter, in.Node.PeerName = e.ID.Node, c.datacenter, c.peer
	s := &in.Service // its Kind is empty: other kinds are no endpoints
	s.ID, s.Service, s.Tags, s.Meta, s.PeerName = e.ID.Instance, e.Service, e.Tags, e.Metadata, c.peer
	if c.dialled {
		host, port, _ := net.SplitHostPort(e.Addr)
		s.Address = host
		s.Port, _ = strconv.Atoi(port)
	}
	yes := c.filter.Match(in)
	c.pool.Put(in)
	return yes
}

package static

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/resolver"
)

// normalizeAll checks endpoints, fills in defaults and returns copies, sorted.
func (c *Catalog) normalizeAll(service string, in []resolver.Endpoint) ([]*resolver.Endpoint, error) {
	set := make([]*resolver.Endpoint, 0, len(in))
	seen := make(map[resolver.ID]bool, len(in))
	for i, raw := range in {
		ep, err := c.normalize(service, raw)
		if err != nil {
			return nil, fmt.Errorf("resolver/static: endpoint %d of %q: %w", i, service, err)
		}
		if seen[ep.ID] {
			return nil, fmt.Errorf("resolver/static: endpoint %d of %q: id %q is used twice; give each a different ID.Instance", i, service, ep.ID)
		}
		seen[ep.ID] = true
		set = append(set, ep)
	}
	slices.SortFunc(set, func(a, b *resolver.Endpoint) int { return a.ID.Compare(b.ID) })
	return set, nil
}

func (c *Catalog) normalize(service string, raw resolver.Endpoint) (*resolver.Endpoint, error) {
	ep := raw
	host, port, err := net.SplitHostPort(ep.Addr)
	if err != nil {
		return nil, fmt.Errorf("address %q is not host:port", clip(ep.Addr))
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("port %q of address %q is not a number", clip(port), clip(ep.Addr))
	}
	if ep.Addr, err = resolver.JoinAddr(host, n); err != nil {
		return nil, err
	}
	if ep.Weight > resolver.MaxWeight {
		return nil, fmt.Errorf("weight %d is over %d", ep.Weight, resolver.MaxWeight)
	}
	if ep.Health > resolver.Critical {
		return nil, fmt.Errorf("health %d is not one of passing, warning, critical", ep.Health)
	}
	if !knownProtocol(ep.Protocol) {
		return nil, fmt.Errorf("protocol %q is not one of grpc, http, http2, tcp", clip(ep.Protocol))
	}
	if ep.SPIFFEID == "" && c.cfg.SPIFFEID != nil {
		ep.SPIFFEID = c.cfg.SPIFFEID(service)
	}
	if ep.SPIFFEID != "" && (!strings.HasPrefix(ep.SPIFFEID, "spiffe://") || len(ep.SPIFFEID) > 2048) {
		return nil, fmt.Errorf("SPIFFE ID %q does not begin with spiffe:// or is over 2048 bytes", clip(ep.SPIFFEID))
	}
	ep.Service = service
	ep.Weight = max(ep.Weight, 1)
	ep.ID.Source = cmp.Or(ep.ID.Source, c.cfg.Name)
	ep.ID.Instance = cmp.Or(ep.ID.Instance, ep.Addr)
	ep.Locality.Cloud = cmp.Or(ep.Locality.Cloud, c.cfg.Name)
	ep.Tags = slices.Clone(ep.Tags)
	ep.Metadata = maps.Clone(ep.Metadata)
	return &ep, nil
}

func knownProtocol(p string) bool {
	return slices.Contains([]string{"", "grpc", "http", "http2", "tcp"}, p)
}

// clip bounds foreign text that goes into an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

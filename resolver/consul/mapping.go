package consul

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/resolver"
)

const (
	// maxMeta bounds the metadata, and again the tags, kept of one endpoint. It is
	// what Consul's own bounds let an instance have of metadata.
	maxMeta = 40 << 10
	maxID   = 512
	// kindSidecar is the Kind of a proxy in front of an instance.
	kindSidecar = "connect-proxy"
)

// mapping says how this source's entries become endpoints.
type mapping struct {
	source    string
	service   string
	namespace string
	partition string
	peer      bool // Connect.Native is not told
	wan       bool // prefer TaggedAddresses.wan
	locality  resolver.Locality
	records   records // to keep
}

func (c resolved) mapping(service string) mapping {
	return mapping{
		source: c.Name, service: service, namespace: cmp.Or(c.Namespace, "default"), partition: c.Partition,
		peer: c.Peer != "", wan: c.Datacenter != "" && !c.LANAddresses, locality: c.Locality,
	}
}

// instance maps one entry, or says why it makes no sense. What it cuts off, it notes in l.
func (m mapping) instance(e *entry, l *list) (instance, error) {
	n, s := &e.Node, &e.Service
	switch {
	case !plainID(n.Node):
		return instance{}, errors.New("the node's name is empty, too long or has control bytes")
	case !plainID(s.ID):
		return instance{}, errors.New("the service id is empty, too long or has control bytes")
	case s.Kind == kindSidecar && s.Proxy.DestinationServiceName == m.service:
	case s.Kind == kindSidecar:
		return instance{}, fmt.Errorf("it is a connect-proxy of %q", clip(s.Proxy.DestinationServiceName))
	case s.Service != "" && s.Service != m.service:
		return instance{}, fmt.Errorf("it is an instance of %q", clip(s.Service))
	case s.Kind != "":
		return instance{}, fmt.Errorf("it is a %q, not an instance", clip(s.Kind))
	}
	addr, err := m.addr(e)
	if err != nil {
		return instance{}, err
	}
	health, weight, err := m.weigh(e)
	if err != nil {
		return instance{}, err
	}
	in := instance{Endpoint: resolver.Endpoint{
		ID:       resolver.ID{Source: m.source, Node: n.Node, Instance: s.ID},
		Service:  m.service,
		Addr:     addr,
		Locality: m.place(e),
		Weight:   weight,
		Health:   health,
		Protocol: protocol(e),
		Tags:     s.Tags,
		Metadata: s.Meta,
	}}
	if s.Connect.Native || s.Kind == kindSidecar || m.peer && s.Meta[MetaNative] == "true" {
		in.path = m.identity(n.Datacenter)
	}
	m.cut(&in.Endpoint, l)
	return in, nil
}

func (m mapping) addr(e *entry) (string, error) {
	if m.wan {
		if t, ok := e.Service.TaggedAddresses["wan"]; ok && t.Address != "" {
			return resolver.JoinAddr(t.Address, cmp.Or(t.Port, e.Service.Port))
		}
		if w := e.Node.TaggedAddresses["wan"]; w != "" && e.Service.Address == "" {
			return resolver.JoinAddr(w, e.Service.Port)
		}
	}
	return resolver.JoinAddr(cmp.Or(e.Service.Address, e.Node.Address), e.Service.Port)
}

// weigh maps checks and weights. An instance without checks is passing.
func (m mapping) weigh(e *entry) (resolver.Health, uint32, error) {
	health := resolver.Passing
	for _, c := range e.Checks {
		switch c.Status {
		case "passing":
		case "warning":
			health = max(health, resolver.Warning)
		case "critical", "maintenance":
			health = resolver.Critical
		default:
			return 0, 0, fmt.Errorf("unknown check status %q", clip(c.Status))
		}
	}
	passing, warning := 1, 1
	if w := e.Service.Weights; w != nil && (w.Passing != 0 || w.Warning != 0) { // both 0: not set
		passing, warning = w.Passing, w.Warning
	}
	if passing < 1 || passing > resolver.MaxWeight || warning < 0 || warning > resolver.MaxWeight {
		return 0, 0, fmt.Errorf("weights passing %d, warning %d are not in 1..%d", passing, warning, resolver.MaxWeight)
	}
	switch {
	case health == resolver.Warning && warning == 0:
		return resolver.Critical, uint32(passing), nil
	case health == resolver.Warning:
		return health, uint32(warning), nil
	}
	return health, uint32(passing), nil
}

// place takes region and zone from the first that knows either.
func (m mapping) place(e *entry) resolver.Locality {
	region, zone := m.locality.Region, m.locality.Zone
	for _, meta := range []map[string]string{e.Node.Meta, e.Service.Meta} {
		if meta[MetaRegion] != "" || meta[MetaZone] != "" {
			region, zone = meta[MetaRegion], meta[MetaZone]
		}
	}
	for _, l := range []*locality{e.Node.Locality, e.Service.Locality} {
		if l != nil && (l.Region != "" || l.Zone != "") {
			region, zone = l.Region, l.Zone
		}
	}
	return resolver.Locality{Cloud: m.source, Region: region, Zone: zone}
}

// protocol is what the instance says of itself; a sidecar inherits its instance's
// metadata, and else speaks the protocol that Consul configures it with.
func protocol(e *entry) string {
	meta := e.Service.Meta
	p := cmp.Or(meta[MetaProtocol], meta["protocol"])
	if p == "" && e.Service.Kind == kindSidecar {
		p, _ = e.Service.Proxy.Config.Protocol.(string)
	}
	switch p {
	case "grpc", "http", "http2", "tcp":
		return p
	}
	return ""
}

// identity is the path of the SPIFFE ID, as Consul's CA writes it.
func (m mapping) identity(dc string) string {
	segments := []string{m.namespace, dc, m.service}
	var ap string
	if m.partition != "" && m.partition != "default" {
		segments = append(segments, m.partition)
		ap = "/ap/" + m.partition
	}
	for _, s := range segments {
		if !pathSegment(s) {
			return "" // no certificate can carry it
		}
	}
	return ap + "/ns/" + m.namespace + "/dc/" + dc + "/svc/" + m.service
}

// pathSegment reports whether s may be a segment of a SPIFFE ID's path.
func pathSegment(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

// cut drops metadata and tags over their bounds, in the order of their names.
func (m mapping) cut(ep *resolver.Endpoint, l *list) {
	size := 0
	for k, v := range ep.Metadata {
		size += len(k) + len(v)
	}
	if size > maxMeta {
		l.note("node %q, service id %q: metadata of %d bytes cut to %d", clip(ep.ID.Node), clip(ep.ID.Instance), size, maxMeta)
		kept, left := map[string]string{}, maxMeta
		for _, k := range slices.Sorted(maps.Keys(ep.Metadata)) {
			v := ep.Metadata[k]
			if left -= len(k) + len(v); left < 0 {
				break
			}
			kept[strings.Clone(k)] = strings.Clone(v)
		}
		ep.Metadata = kept
	}
	size = 0
	for i, t := range ep.Tags {
		if size += len(t); size > maxMeta {
			l.note("node %q, service id %q: tags cut after %d of %d", clip(ep.ID.Node), clip(ep.ID.Instance), i, len(ep.Tags))
			ep.Tags = slices.Clone(ep.Tags[:i])
			break
		}
	}
}

package static

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weft-mesh/weft/resolver"
)

const (
	maxFileEndpoints = 1 << 18  // of all services of one file
	maxMetaBytes     = 16 << 10 // of tags and metadata of one endpoint
	maxFieldBytes    = 255      // of id, node and the parts of the locality
	maxReasons       = 8        // SkippedReasons of one service
)

// listing is what a file says about one service.
type listing struct {
	endpoints []*resolver.Endpoint // sorted, normalized
	skipped   int
	reasons   []string
}

// fileEndpoint is an endpoint as it stands in the file.
type fileEndpoint struct {
	Address  string            `yaml:"address"`
	ID       string            `yaml:"id"`
	Node     string            `yaml:"node"`
	Cloud    string            `yaml:"cloud"`
	Region   string            `yaml:"region"`
	Zone     string            `yaml:"zone"`
	Weight   *int64            `yaml:"weight"`
	Health   string            `yaml:"health"`
	Protocol string            `yaml:"protocol"`
	SPIFFEID string            `yaml:"spiffe_id"`
	Tags     []string          `yaml:"tags"`
	Meta     map[string]string `yaml:"meta"`
}

var endpointKeys = []string{
	"address", "id", "node", "cloud", "region", "zone", "weight", "health", "protocol", "spiffe_id", "tags", "meta",
}

// parse reads a file's content. An error refuses all of it; a single endpoint
// that makes no sense is skipped instead.
func (c *Catalog) parse(data []byte) (map[string]*listing, error) {
	data = untab(data)
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, errors.New(clipLong(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	if doc.Kind == 0 || len(doc.Content) != 1 {
		return nil, errors.New(`the file is empty; it needs at least the key "services"`)
	}
	if err := plain(&doc); err != nil {
		return nil, err
	}
	root, err := mapping(doc.Content[0], "the file", []string{"services"})
	if err != nil {
		return nil, err
	}
	services := root["services"]
	if services == nil {
		return nil, errors.New(`line 1: the key "services" is missing`)
	}
	byName, err := mapping(services, "services", nil)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*listing, len(byName))
	total := 0
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		n := byName[name]
		if err := resolver.CheckService(name); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		switch {
		case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		case n.Kind != yaml.SequenceNode:
			return nil, fmt.Errorf("line %d: the value of service %q is not a list of endpoints", n.Line, clip(name))
		}
		if total += len(n.Content); total > maxFileEndpoints {
			return nil, fmt.Errorf("line %d: over %d endpoints in one file", n.Line, maxFileEndpoints)
		}
		if out[name], err = c.parseService(name, n.Content); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *Catalog) parseService(name string, items []*yaml.Node) (*listing, error) {
	l := &listing{}
	seen := make(map[resolver.ID]int, len(items))
	for _, n := range items {
		if _, err := mapping(n, "an endpoint of "+name, endpointKeys); err != nil {
			return nil, err
		}
		var raw fileEndpoint
		if err := n.Decode(&raw); err != nil {
			return nil, errors.New(clipLong(strings.TrimPrefix(err.Error(), "yaml: ")))
		}
		ep, err := raw.endpoint()
		if err == nil {
			ep, err = c.normalize(name, *ep)
		}
		if err == nil && seen[ep.ID] > 0 {
			err = fmt.Errorf("id %q on node %q is used already in line %d", clip(ep.ID.Instance), clip(ep.ID.Node), seen[ep.ID])
		}
		if err != nil {
			l.skipped++
			if len(l.reasons) < maxReasons {
				l.reasons = append(l.reasons, fmt.Sprintf("line %d: %v", n.Line, err))
			}
			continue
		}
		seen[ep.ID] = n.Line
		l.endpoints = append(l.endpoints, ep)
	}
	slices.SortFunc(l.endpoints, func(a, b *resolver.Endpoint) int { return a.ID.Compare(b.ID) })
	return l, nil
}

// endpoint checks what normalize does not: that the endpoint came from people.
func (f *fileEndpoint) endpoint() (*resolver.Endpoint, error) {
	for key, v := range map[string]string{"id": f.ID, "node": f.Node, "cloud": f.Cloud, "region": f.Region, "zone": f.Zone} {
		if len(v) > maxFieldBytes || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("%s %q is over %d bytes or has control characters", key, clip(v), maxFieldBytes)
		}
	}
	weight := int64(1)
	if f.Weight != nil {
		weight = *f.Weight
	}
	if weight < 1 || weight > resolver.MaxWeight {
		return nil, fmt.Errorf("weight %d is not in 1..%d", weight, resolver.MaxWeight)
	}
	size := 0
	for _, t := range f.Tags {
		size += len(t)
	}
	for k, v := range f.Meta {
		size += len(k) + len(v)
	}
	if size > maxMetaBytes {
		return nil, fmt.Errorf("tags and meta have %d bytes, over %d", size, maxMetaBytes)
	}
	health := resolver.Passing
	switch cmp.Or(f.Health, "passing") {
	case "passing":
	case "warning":
		health = resolver.Warning
	case "critical":
		health = resolver.Critical
	default:
		return nil, fmt.Errorf("health %q is not one of passing, warning, critical", clip(f.Health))
	}
	return &resolver.Endpoint{
		ID:       resolver.ID{Node: f.Node, Instance: f.ID},
		Addr:     f.Address,
		Locality: resolver.Locality{Cloud: f.Cloud, Region: f.Region, Zone: f.Zone},
		Weight:   uint32(weight),
		Health:   health,
		Protocol: f.Protocol,
		SPIFFEID: f.SPIFFEID,
		Tags:     f.Tags,
		Metadata: f.Meta,
	}, nil
}

// mapping is the entries of a mapping node. keys are the allowed ones; nil: all.
func mapping(n *yaml.Node, what string, keys []string) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: %s is not a mapping of keys to values", n.Line, clip(what))
	}
	m := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key of %s is not text", k.Line, clip(what))
		}
		if keys != nil && !slices.Contains(keys, k.Value) {
			return nil, fmt.Errorf("line %d: unknown key %q in %s; known keys are %s", k.Line, clip(k.Value), clip(what), strings.Join(keys, ", "))
		}
		if m[k.Value] != nil {
			return nil, fmt.Errorf("line %d: key %q stands twice in %s", k.Line, clip(k.Value), clip(what))
		}
		m[k.Value] = n.Content[i+1]
	}
	return m, nil
}

// plain refuses aliases and merge keys: a short file could otherwise stand for
// an endless one.
func plain(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Tag == "!!merge" {
		return fmt.Errorf("line %d: YAML aliases and merge keys are not supported", n.Line)
	}
	for _, child := range n.Content {
		if err := plain(child); err != nil {
			return err
		}
	}
	return nil
}

// untab makes a JSON text with tabs, which YAML does not allow for indentation,
// one with spaces. A JSON string cannot contain a tab as it is.
func untab(data []byte) []byte {
	if t := strings.TrimSpace(string(data)); !strings.HasPrefix(t, "{") {
		return data
	}
	return []byte(strings.ReplaceAll(string(data), "\t", " "))
}

func clipLong(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

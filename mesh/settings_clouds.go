package mesh

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/resolver/consul"
)

// parseClouds reads WEFT_CLOUDS: NAME, NAME=dc:DATACENTER, NAME=peer:PEER or
// NAME=ADDRESS, separated by commas.
func parseClouds(list string) ([]consul.Config, error) {
	var clouds []consul.Config
	for _, item := range strings.Split(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, where, _ := strings.Cut(item, "=")
		if name == "" || strings.ContainsAny(name, "/@: ") {
			return nil, fmt.Errorf("mesh: WEFT_CLOUDS: %q has no cloud name; want NAME, NAME=dc:DATACENTER, NAME=peer:PEER or NAME=ADDRESS", redactAddr(item))
		}
		c := consul.Config{Name: name}
		switch {
		case strings.HasPrefix(where, "dc:"):
			c.Datacenter = strings.TrimPrefix(where, "dc:")
		case strings.HasPrefix(where, "peer:"):
			c.Peer = strings.TrimPrefix(where, "peer:")
		case strings.Contains(where, "@") || strings.Contains(where, "token="):
			return nil, fmt.Errorf("mesh: WEFT_CLOUDS: cloud %q has a secret in its address; give it in CONSUL_HTTP_TOKEN_FILE or Config.Clouds", name)
		default:
			c.Address = where
		}
		clouds = append(clouds, c)
	}
	return clouds, nil
}

func describeClouds(clouds []consul.Config) string {
	parts := make([]string, len(clouds))
	for i, c := range clouds {
		switch {
		case c.Datacenter != "":
			parts[i] = c.Name + "=dc:" + c.Datacenter
		case c.Peer != "":
			parts[i] = c.Name + "=peer:" + c.Peer
		case c.Address != "":
			parts[i] = c.Name + "=" + redactAddr(c.Address)
		default:
			parts[i] = c.Name
		}
	}
	return strings.Join(parts, ",")
}

// redactAddr removes user info and a query from an address that will be shown.
func redactAddr(addr string) string {
	addr, _, _ = strings.Cut(addr, "?")
	scheme, rest, found := strings.Cut(addr, "://")
	if !found {
		scheme, rest = "", addr
	}
	if _, host, has := strings.Cut(rest, "@"); has {
		rest = "***@" + host
	}
	if found {
		return scheme + "://" + rest
	}
	return rest
}

package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/resolver"
)

// AgentLocality is the region and zone that the agent is configured with; its
// Cloud is the source's name. It needs the permission agent:read.
func (c *Catalog) AgentLocality(ctx context.Context) (resolver.Locality, error) {
	l := resolver.Locality{Cloud: c.cfg.Name}
	_, err := c.client.get(ctx, "/v1/agent/self", nil, func(r io.Reader) error {
		var self struct {
			DebugConfig struct {
				Locality *struct{ Region, Zone string }
			}
		}
		if err := json.NewDecoder(r).Decode(&self); err != nil {
			return err
		}
		if at := self.DebugConfig.Locality; at != nil {
			l.Region, l.Zone = at.Region, at.Zone
		}
		return nil
	})
	if err != nil {
		return resolver.Locality{}, fmt.Errorf("resolver/consul: %s: the agent does not say where it runs (agent:read is needed): %w", c.client.where(), err)
	}
	return l, nil
}

// APIClient makes a client of Consul's own Go API for the agent that c describes,
// with the same address, credentials and TLS. It opens no connection; release
// closes those that the client leaves idle.
func (c Config) APIClient() (client *api.Client, release func(), err error) {
	conf, release, err := c.APIConfig()
	if err != nil {
		return nil, nil, err
	}
	client, err = api.NewClient(conf)
	if err != nil {
		return nil, nil, fmt.Errorf("resolver/consul: %w", err)
	}
	return client, release, nil
}

// APIConfig is the configuration of the client that APIClient makes.
func (c Config) APIConfig() (conf *api.Config, release func(), err error) {
	r, err := c.resolve()
	if err != nil {
		return nil, nil, err
	}
	cl, err := newClient(r)
	if err != nil {
		return nil, nil, err
	}
	return &api.Config{
		Address:    r.base.Host,
		Scheme:     r.base.Scheme,
		PathPrefix: r.base.Path,
		Namespace:  r.Namespace,
		Partition:  r.Partition,
		HttpClient: &http.Client{Transport: authorized{cl}, CheckRedirect: cl.http.CheckRedirect},
	}, cl.close, nil
}

// authorized adds the credentials to each request, so that a token file that
// changes takes effect.
type authorized struct{ c *client }

func (a authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if err := a.c.authorize(req); err != nil {
		return nil, err
	}
	return a.c.trans.RoundTrip(req)
}

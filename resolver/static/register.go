package static

import (
	"cmp"
	"context"
	"fmt"

	"github.com/weft-mesh/weft/resolver"
)

// Register implements [resolver.Registrar]: the instance is in the catalog until
// it is deregistered. A second registration of the same service and id replaces
// the first one, whose deregister then does nothing.
func (c *Catalog) Register(ctx context.Context, in resolver.Instance) (deregister func(context.Context) error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := resolver.CheckService(in.Service); err != nil {
		return nil, err
	}
	addr, err := resolver.JoinAddr(in.Host, in.Port)
	if err != nil {
		return nil, fmt.Errorf("resolver/static: register %q: %w", in.Service, err)
	}
	ep, err := c.normalize(in.Service, resolver.Endpoint{
		ID:       resolver.ID{Instance: cmp.Or(in.ID, fmt.Sprintf("%s-%d", in.Service, in.Port))},
		Addr:     addr,
		Locality: in.Locality,
		Weight:   in.Weight,
		Protocol: in.Protocol,
		Tags:     in.Tags,
		Metadata: in.Metadata,
	})
	if err != nil {
		return nil, fmt.Errorf("resolver/static: register %q: %w", in.Service, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entryLocked(in.Service)
	if e.registered == nil {
		e.registered = map[resolver.ID]*resolver.Endpoint{}
	}
	e.registered[ep.ID] = ep
	c.publishLocked(in.Service, e)
	return func(context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if e := c.services[in.Service]; e != nil && e.registered[ep.ID] == ep {
			delete(e.registered, ep.ID)
			c.publishLocked(in.Service, e)
			c.forgetLocked(in.Service, e)
		}
		return nil
	}, nil
}

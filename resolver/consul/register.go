package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/resolver"
)

// Register implements [resolver.Registrar] through the agent: the instance is
// registered as Connect-native with a check that turns critical within
// Config.TTL when this process ends, and is registered again when the agent
// forgot it. It returns when the servers list the instance as passing. An agent that
// does not answer, or only with a server's error, is asked three times.
//
// It needs service:write on the service. A catalog with Peer, or with the
// Datacenter of another agent, cannot register and says so.
func (c *Catalog) Register(ctx context.Context, in resolver.Instance) (deregister func(context.Context) error, err error) {
	r, err := c.registration(in)
	if err != nil {
		return nil, err
	}
	if err := insist(ctx, r.announce); err != nil {
		return nil, fmt.Errorf("resolver/consul: registering %q: %w", r.def.ID, err)
	}
	beat, cancel := context.WithCancel(c.ctx)
	r.cancel = cancel
	if !c.goWhileOpen(func() { defer close(r.ended); r.heartbeat(beat) }) {
		close(r.ended)
		err = resolver.ErrClosed
	}
	if err == nil {
		err = r.checkDatacenter(ctx)
	}
	if err == nil {
		err = r.awaitPassing(ctx)
	}
	if err != nil {
		within, stop := context.WithTimeout(context.WithoutCancel(ctx), readWithin)
		defer stop()
		_ = r.deregister(within) // the error to report is the first one
		return nil, fmt.Errorf("resolver/consul: registering %q: %w", r.def.ID, err)
	}
	c.cfg.Logger.Info("instance.registered", "service", in.Service, "id", r.def.ID)
	return r.deregister, nil
}

// registration is one announced instance.
type registration struct {
	c      *Catalog
	def    api.AgentServiceRegistration
	cancel context.CancelFunc // ends the heartbeat
	ended  chan struct{}      // closed when it has

	mu   sync.Mutex // serializes deregister
	gone bool
}

func (c *Catalog) registration(in resolver.Instance) (*registration, error) {
	if c.cfg.Peer != "" {
		return nil, fmt.Errorf("resolver/consul: cannot register %q at peer %q; register with the catalog of the instance's own cluster", in.Service, c.cfg.Peer)
	}
	if err := resolver.CheckService(in.Service); err != nil {
		return nil, err
	}
	addr, err := resolver.JoinAddr(in.Host, in.Port)
	if err != nil {
		return nil, fmt.Errorf("resolver/consul: registering %q: %w", in.Service, err)
	}
	host, _, _ := net.SplitHostPort(addr) // without the brackets of IPv6
	if in.Weight > resolver.MaxWeight {
		return nil, fmt.Errorf("resolver/consul: registering %q: Weight %d is over %d", in.Service, in.Weight, resolver.MaxWeight)
	}
	id := cmp.Or(in.ID, in.Service+"-"+strconv.Itoa(in.Port))
	if !plainID(id) {
		return nil, fmt.Errorf("resolver/consul: registering %q: ID %q has control bytes or is too long", in.Service, clip(id))
	}
	meta := maps.Clone(in.Metadata)
	if meta == nil {
		meta = map[string]string{}
	}
	meta[MetaNative] = "true"
	if in.Protocol != "" {
		meta[MetaProtocol] = in.Protocol
	}
	def := api.AgentServiceRegistration{
		ID: id, Name: in.Service, Address: host, Port: in.Port, Tags: in.Tags, Meta: meta,
		Namespace: c.cfg.Namespace, Partition: c.cfg.Partition,
		Weights: &api.AgentWeights{Passing: int(cmp.Or(in.Weight, 1)), Warning: 1},
		Connect: &api.AgentServiceConnect{Native: true},
		Check: &api.AgentServiceCheck{
			CheckID: "service:" + id, Name: "weft heartbeat", Status: api.HealthPassing,
			TTL: c.cfg.TTL.String(), DeregisterCriticalServiceAfter: c.cfg.DeregisterAfter.String(),
		},
	}
	if in.Locality.Region != "" { // Consul refuses a zone without a region
		def.Locality = &api.Locality{Region: in.Locality.Region, Zone: in.Locality.Zone}
	} else if in.Locality.Zone != "" {
		meta[MetaZone] = in.Locality.Zone
	}
	return &registration{c: c, def: def, ended: make(chan struct{})}, nil
}

// announce gives the definition to the agent. Checks that an older definition
// had go away with it.
func (r *registration) announce(ctx context.Context) error {
	return r.call(ctx, func(ctx context.Context) error {
		return r.c.client.put(ctx, "/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, r.def)
	})
}

// call bounds one request to the agent and holds a connection slot for it.
func (r *registration) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	leave, err := r.c.client.slots.enter(ctx, false)
	if err != nil {
		return err
	}
	defer leave()
	err = f(ctx)
	if errors.Is(err, ErrACL) {
		err = fmt.Errorf("%w; grant service:write on %q to the token", err, r.def.Name)
	}
	return err
}

// checkDatacenter finds a catalog that reads another datacenter than its agent's.
func (r *registration) checkDatacenter(ctx context.Context) error {
	want := r.c.cfg.Datacenter
	if want == "" {
		return nil
	}
	var got struct{ Datacenter string }
	err := insist(ctx, func(ctx context.Context) error {
		return r.call(ctx, func(ctx context.Context) error {
			_, err := r.c.client.get(ctx, "/v1/agent/service/"+url.PathEscape(r.def.ID), nil, jsonInto(&got))
			return err
		})
	})
	if err == nil && got.Datacenter != "" && got.Datacenter != want {
		err = fmt.Errorf("the agent at %s is of datacenter %q, not %q; register with an agent of the instance's own datacenter",
			r.c.client.where(), clip(got.Datacenter), want)
	}
	return err
}

// awaitPassing waits until the servers list the instance as passing: the agent
// has accepted it, but tells them in the background.
func (r *registration) awaitPassing(ctx context.Context) error {
	m := r.c.cfg.mapping(r.def.Name)
	addr, _ := resolver.JoinAddr(r.def.Address, r.def.Port)
	m.wan = false
	var index uint64
	for pause := time.Duration(0); ; pause = 20 * time.Millisecond {
		if !sleep(ctx, pause) {
			return fmt.Errorf("waiting until the servers list it: %w", ctx.Err())
		}
		q := url.Values{"merge-central-config": {""}, "wait": {"2s"}, "index": {strconv.FormatUint(index, 10)}}
		var l *list
		var rep reply
		err := r.call(ctx, func(ctx context.Context) (err error) {
			rep, err = r.c.client.get(ctx, "/v1/health/service/"+url.PathEscape(r.def.Name), q, func(body io.Reader) error {
				l, err = m.decode(body)
				return err
			})
			return err
		})
		if errors.Is(err, ErrACL) || err == nil && rep.filtered {
			return nil // the agent accepted it, and the token may not see more
		}
		if err != nil {
			index = 0
			if ctx.Err() == nil && sleep(ctx, jitter(1)) {
				continue // the servers may be electing a leader
			}
			return fmt.Errorf("waiting until the servers list it: %w", err)
		}
		for i := range l.instances {
			if in := &l.instances[i]; in.ID.Instance == r.def.ID && in.Addr == addr && in.Health == resolver.Passing {
				return nil
			}
		}
		index = rep.index
	}
}

// heartbeat keeps the check passing, and registers again if the agent does not
// know it any more.
func (r *registration) heartbeat(ctx context.Context) {
	every := r.c.cfg.TTL / 3
	path := "/v1/agent/check/pass/" + url.PathEscape(r.def.Check.CheckID)
	failures := 0
	for pause := every; sleep(ctx, pause); {
		err := r.call(ctx, func(ctx context.Context) error { return r.c.client.put(ctx, path, nil, nil) })
		if isStatus(err, http.StatusNotFound) {
			r.c.cfg.Logger.Warn("instance.lost", "id", r.def.ID)
			if err = r.announce(ctx); err == nil {
				r.c.cfg.Logger.Info("instance.registered", "service", r.def.Name, "id", r.def.ID)
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures, pause = 0, every
			continue
		}
		if failures++; failures == 1 {
			r.c.cfg.Logger.Warn("instance.heartbeat_failed", "id", r.def.ID, "error", err)
		}
		pause = min(every, jitter(failures))
	}
}

// deregister ends the heartbeat first, so that it cannot register again.
func (r *registration) deregister(ctx context.Context) error {
	r.cancel()
	select {
	case <-r.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil
	}
	if err := r.remove(ctx); err != nil {
		return fmt.Errorf("resolver/consul: deregistering %q: %w", r.def.ID, err)
	}
	r.gone = true
	r.c.cfg.Logger.Info("instance.deregistered", "id", r.def.ID)
	return nil
}

// remove takes the instance out of the agent.
func (r *registration) remove(ctx context.Context) error {
	err := insist(ctx, func(ctx context.Context) error {
		return r.call(ctx, func(ctx context.Context) error {
			return r.c.client.put(ctx, "/v1/agent/service/deregister/"+url.PathEscape(r.def.ID), nil, nil)
		})
	})
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// insist asks the agent up to three times: a connection may have died with an agent
// that is back, and an agent that just started may not have its servers yet.
func insist(ctx context.Context, ask func(context.Context) error) error {
	for try := 1; ; try++ {
		err := ask(ctx)
		if err == nil || !sourceWide(err) || try == 3 || !sleep(ctx, jitter(try)) {
			return err
		}
	}
}

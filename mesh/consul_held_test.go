package mesh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// external registers in the catalog at a node without an agent, so that no agent
// repairs what a test removes.
type external struct {
	catalog *api.Catalog
	node    string
}

func (e external) Register(_ context.Context, in resolver.Instance) (func(context.Context) error, error) {
	id := fmt.Sprintf("%s-%d", in.Service, in.Port)
	_, err := e.catalog.Register(&api.CatalogRegistration{
		Node: e.node, Address: "127.0.0.1",
		Service: &api.AgentService{
			ID: id, Service: in.Service, Address: in.Host, Port: in.Port,
			Meta:    map[string]string{consul.MetaProtocol: in.Protocol, consul.MetaNative: "true"},
			Connect: &api.AgentServiceConnect{Native: true},
		},
	}, nil)
	return func(context.Context) error {
		_, err := e.catalog.Deregister(&api.CatalogDeregistration{Node: e.node, ServiceID: id}, nil)
		return err
	}, err
}

// TestRemovalIsHeld: a catalog that loses a service behind the back of running
// servers costs no call, and the mesh says what it holds back.
func TestRemovalIsHeld(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{})
	catalog := agent.Client().Catalog()
	for _, c := range []struct {
		service string
		nodes   []int // instances of each; the first is removed
		reason  string
	}{
		{"emptied", []int{2}, "empty"},
		{"decimated", []int{3, 1}, "mass removal"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			t.Parallel()
			node := func(i int) string { return fmt.Sprintf("%s-vm-%d", c.service, i) }
			var fleet []*instance
			for i, n := range c.nodes {
				for range n {
					cfg := at(agent, c.service)
					cfg.Registrar = external{catalog, node(i)}
					fleet = append(fleet, start(t, fmt.Sprintf("%s-%d", c.service, len(fleet)), cfg))
				}
			}
			m := join(t, at(agent, "checkout"))
			l := begin(t, calls(t, m, c.service))
			until(t, "the list is known", func() bool { return statusOf(m, c.service).Endpoints == 2*len(fleet) })

			if _, err := catalog.Deregister(&api.CatalogDeregistration{Node: node(0)}, nil); err != nil {
				t.Fatal(err)
			}
			until(t, "the removal is held", func() bool { return statusOf(m, c.service).Held != nil })
			l.rounds(60)
			for _, in := range fleet {
				l.answers(in.name)
			}
			l.unharmed("while the catalog lacks running servers")
			s := statusOf(m, c.service)
			if s.Held == nil || !strings.Contains(s.Held.Reason, c.reason) || s.Endpoints != 2*len(fleet) ||
				s.Held.Reported != 2*(len(fleet)-c.nodes[0]) || s.State != resolver.Known {
				t.Errorf("status %+v, held %+v; want all %d endpoints held: %s", s.CacheStatus, s.Held, 2*len(fleet), c.reason)
			}

			// It is believed again as soon as the catalog lists the servers.
			cfg := at(agent, c.service)
			cfg.Registrar = external{catalog, node(0)}
			for range c.nodes[0] {
				fleet = append(fleet, start(t, fmt.Sprintf("%s-%d", c.service, len(fleet)), cfg))
			}
			until(t, "the hold has ended", func() bool { return statusOf(m, c.service).Held == nil })
			l.answers(fleet[len(fleet)-1].name)
			l.rounds(10)
			l.unharmed("after the hold")
		})
	}
}

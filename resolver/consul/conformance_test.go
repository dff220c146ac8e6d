package consul

import (
	"context"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/resolver/resolvertest"
)

// TestContract runs the catalog, against a real Consul, through the conformance suite.
func TestContract(t *testing.T) {
	t.Parallel()
	a := ctest.Start(t, consultest.Config{})
	resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
		k := newLink(t, a.HTTPAddr())
		c := open(t, Config{Address: k.addr()})
		set := func(service string, addrs ...string) { setInstances(t, a, service, addrs) }
		for _, s := range []string{"payments", "inventory"} {
			set(s)
		}
		return resolvertest.Subject{
			Catalog:  c,
			Set:      set,
			Break:    func() { k.set(true) },
			Heal:     func() { k.set(false) },
			Close:    func() { _ = c.Close(context.Background()) },
			Watches:  func() int { return len(c.hub.Keys()) },
			Patience: patience,
		}
	})
}

// setInstances makes the addresses the only instances of a service, in one
// transaction of the catalog, on a node without an agent.
func setInstances(t testing.TB, a *consultest.Agent, service string, addrs []string) {
	t.Helper()
	have, _, err := a.Client().Catalog().Service(service, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var ops api.TxnOps
	ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: "rig", Address: "127.0.0.1"}}})
	for _, addr := range addrs {
		host, text, _ := net.SplitHostPort(addr)
		port, _ := strconv.Atoi(text)
		ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: "rig",
			Service: api.AgentService{ID: service + addr, Service: service, Address: host, Port: port}}})
	}
	for _, s := range have {
		if !slices.Contains(addrs, net.JoinHostPort(s.ServiceAddress, strconv.Itoa(s.ServicePort))) {
			ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceDelete, Node: "rig",
				Service: api.AgentService{ID: s.ServiceID, Service: service}}})
		}
	}
	ok, answer, _, err := a.Client().Txn().Txn(ops, nil)
	if err != nil || !ok {
		t.Fatalf("txn: %v, %+v", err, answer)
	}
}

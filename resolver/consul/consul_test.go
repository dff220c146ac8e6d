package consul

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/resolver"
)

func TestDiscovery(t *testing.T) {
	t.Parallel()
	a := sharedAgent(t)
	cfg := at(a)
	cfg.Name = "aws"
	w := read(t, open(t, cfg), "found")
	w.until("is known to be empty", known(0))

	register(t, a, &api.AgentServiceRegistration{
		ID: "found-1", Name: "found", Port: 8080, Tags: []string{"v1"},
		Meta:     map[string]string{"version": "2", MetaProtocol: "grpc"},
		Weights:  &api.AgentWeights{Passing: 10, Warning: 3},
		Connect:  &api.AgentServiceConnect{Native: true},
		Locality: &api.Locality{Region: "eu", Zone: "eu-a"},
		Check:    &api.AgentServiceCheck{CheckID: "c1", TTL: "1h", Status: "passing"},
	})
	got := w.until("has one endpoint", known(1)).Endpoints[0]
	td := trustDomain(t, a.Client())
	want := &resolver.Endpoint{
		ID: resolver.ID{Source: "aws", Node: "dc1-1", Instance: "found-1"}, Service: "found", Addr: "127.0.0.1:8080",
		Locality: resolver.Locality{Cloud: "aws", Region: "eu", Zone: "eu-a"}, Weight: 10, Protocol: "grpc",
		SPIFFEID: "spiffe://" + td + "/ns/default/dc/dc1/svc/found",
		Tags:     []string{"v1"}, Metadata: map[string]string{"version": "2", MetaProtocol: "grpc"},
	}
	if !got.Equal(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	// A plain neighbour: the node's locality, no identity; the first one's pointer stays.
	register(t, a, &api.AgentServiceRegistration{ID: "found-2", Name: "found", Port: 8081})
	two := w.until("has two endpoints", known(2)).Endpoints
	if two[0] != got {
		t.Error("an unchanged endpoint got a new pointer")
	}
	if e := two[1]; e.SPIFFEID != "" || e.Locality != (resolver.Locality{Cloud: "aws", Region: "r1", Zone: "r1a"}) || e.Weight != 1 {
		t.Errorf("the plain instance is %+v", e)
	}

	check := func(status string, health resolver.Health, weight uint32) {
		t.Helper()
		if err := a.Client().Agent().UpdateTTL("c1", "", status); err != nil {
			t.Fatal(err)
		}
		w.until("is "+status, func(s *resolver.Snapshot) bool {
			return len(s.Endpoints) == 2 && s.Endpoints[0].Health == health && s.Endpoints[0].Weight == weight
		})
	}
	check("warning", resolver.Warning, 3)
	check("critical", resolver.Critical, 10)
	check("passing", resolver.Passing, 10)

	deregister(t, a, "found-1")
	deregister(t, a, "found-2")
	w.until("is empty again", known(0))
}

// trustDomain reads the agent's trust domain through Consul's own client.
func trustDomain(t testing.TB, c *api.Client) string {
	t.Helper()
	roots, _, err := c.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	return roots.TrustDomain
}

// TestChangeLatency prints how fast a change arrives; it fails only if one does not.
func TestChangeLatency(t *testing.T) {
	t.Parallel()
	a := sharedAgent(t)
	w := read(t, open(t, at(a)), "latency")
	w.until("is known", known(0))
	var took []time.Duration
	for i := range 60 {
		n := 1 - i%2
		began := time.Now()
		if n == 1 {
			register(t, a, &api.AgentServiceRegistration{ID: "latency", Name: "latency", Port: 80})
		} else {
			deregister(t, a, "latency")
		}
		w.until("shows the change", known(n))
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("change to delivery: p50 %v, p99 %v, max %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

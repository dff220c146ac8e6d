package mesh_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
)

// subset is a service of which only the instances that a filter selects are called.
func subset(service, filter string) *api.ServiceResolverConfigEntry {
	return &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: service, DefaultSubset: "some",
		Subsets: map[string]api.ServiceResolverSubset{"some": {Filter: filter}}}
}

// TestConsulMarks: a subset by what only Consul knows of instances, here their checks, is
// followed with each change of a check and of the filter, and no call is lost by it.
func TestConsulMarks(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws"})
	const warned, not = `Checks.Status == "warning"`, `not (Checks.Status == "warning")`
	put(t, agent, httpDefaults("marked"), subset("marked", warned))
	startVersion(t, "v1", at(agent, "marked"))
	startVersion(t, "v2", at(agent, "marked"))
	gate := func(version, status string) {
		t.Helper()
		local := agent.Client().Agent()
		all, err := local.ServicesWithFilter(fmt.Sprintf("Service == marked and Meta.version == %s", version))
		if err != nil || len(all) != 2 {
			t.Fatalf("%v, %v; want the gRPC and the HTTP instance", all, err)
		}
		for id := range all {
			err := local.CheckRegister(&api.AgentCheckRegistration{ID: "gate-" + id, Name: "gate", ServiceID: id,
				AgentServiceCheck: api.AgentServiceCheck{TTL: "1h", Status: status}})
			if err == nil {
				err = local.UpdateTTL("gate-"+id, "", status)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	gate("v1", "warning")
	gate("v2", "passing")
	m := join(t, at(agent, "reader"))
	l := begin(t, calls(t, m, "marked"))
	l.only("at first", "v1")
	if r := routeOf(m, "marked"); r.Err != nil || len(r.Problems) > 0 {
		t.Errorf("the status is %v, %v", r.Err, r.Problems)
	}
	for range 3 {
		gate("v2", "warning")
		l.answers("v2")
		gate("v1", "passing")
		until(t, "v1 is left", func() bool { return l.since(2)["v1"] == 0 })
		l.rounds(1)
		l.only("after the checks changed", "v2")
		gate("v1", "warning")
		l.answers("v1")
		gate("v2", "passing")
		until(t, "v2 is left", func() bool { return l.since(2)["v2"] == 0 })
		l.rounds(1)
		l.only("after the checks changed back", "v1")
	}
	l.unharmed("while checks changed")
	var took []time.Duration
	for i := range 10 {
		filter, now := not, "v2"
		if i%2 == 1 {
			filter, now = warned, "v1"
		}
		put(t, agent, subset("marked", filter))
		written := time.Now()
		l.answers(now)
		took = append(took, time.Since(written))
		l.rounds(1) // who had begun before has ended
		l.only(fmt.Sprintf("after filter %d", i), now)
	}
	l.unharmed("while the filter changed")
	put(t, agent, subset("marked", "Service.Meta.version == v2"))
	l.answers("v2")
	put(t, agent, subset("marked", "Service.Weights.Passing == 1 and Node.Datacenter == aws and Service.Meta.version == v1"))
	l.answers("v1")
	l.unharmed("while the filter read other things")
	p50, p99 := quantiles(took)
	t.Logf("filter written to the first call that followed: p50 %v p99 %v", p50, p99)
}

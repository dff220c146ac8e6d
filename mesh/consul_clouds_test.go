package mesh_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// TestThreeClouds: three federated datacenters, two of them read through the
// caller's own agent. Calls stay at home, move to the next cloud in order when the
// local instances die, and go on when the servers of a datacenter are away.
func TestThreeClouds(t *testing.T) {
	t.Parallel()
	clouds := []string{"aws", "gcp", "azure"}
	agents := ctest.Federate(t, consultest.Config{}, clouds...)
	fleet := map[string][]*instance{}
	for i, cloud := range clouds {
		for n := range 2 {
			fleet[cloud] = append(fleet[cloud], start(t, fmt.Sprintf("%s-%d", cloud, n), at(agents[i], "payments")))
		}
	}
	cfg := at(agents[0], "checkout")
	for _, dc := range clouds[1:] {
		cfg.Clouds = append(cfg.Clouds, consul.Config{Name: dc, Address: agents[0].HTTPAddr(), Datacenter: dc})
	}
	cfg.Balancer = balancer.Config{CloudOrder: clouds}
	m := join(t, cfg)
	l := begin(t, calls(t, m, "payments"))
	until(t, "the lists of all clouds are known", func() bool {
		known := map[string]int{}
		for _, s := range m.Status() {
			if s.Service == "payments" && s.State == resolver.Known {
				known[s.Source] = s.Endpoints
			}
		}
		return known["aws"] == 4 && known["gcp"] == 4 && known["azure"] == 4
	})
	only := func(when, cloud string) {
		t.Helper()
		for server, n := range l.since(20) {
			if !strings.HasPrefix(server, cloud+"-") {
				t.Errorf("%s: %s answered %d calls, want all at %s", when, server, n, cloud)
			}
		}
	}
	until(t, "calls stay at home", func() bool { // the first ones knew fewer clouds
		for server := range l.since(2) {
			if !strings.HasPrefix(server, "aws-") {
				return false
			}
		}
		return true
	})
	only("at first", "aws")
	l.unharmed("while all is well")

	harmed := l.crash(fleet["aws"]...)
	l.answers("gcp-0")
	only("without aws", "gcp")

	agents[2].Kill() // nobody can say what azure has
	harmed += l.crash(fleet["gcp"]...)
	l.answers("azure-0")
	only("without aws and gcp", "azure")
	l.stop()
	if n := len(l.failures()); n > harmed {
		t.Errorf("%d calls failed after those in flight: %v", n-harmed, l.failures()[n-1].err)
	}
	t.Logf("%d calls, %d of them in flight at a crash failed", l.total(), harmed)
}

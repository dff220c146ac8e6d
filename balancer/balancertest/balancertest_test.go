package balancertest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/balancer/balancertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPolicies(t *testing.T) {
	for name, c := range map[string]struct {
		policy balancer.Policy
		o      balancertest.Options
	}{
		"round robin":     {balancer.RoundRobin{}, balancertest.Options{Tolerance: 0.01}},
		"random":          {balancer.Random{}, balancertest.Options{}},
		"least request":   {balancer.LeastRequest{}, balancertest.Options{}},
		"least of five":   {balancer.LeastRequest{Choices: 5}, balancertest.Options{}},
		"peak ewma":       {balancer.PeakEWMA{}, balancertest.Options{}},
		"peak ewma, fast": {balancer.PeakEWMA{Decay: time.Second}, balancertest.Options{}},
		"ring hash":       {balancer.RingHash{}, balancertest.Options{Keyed: true}},
		"ring, unbounded": {balancer.RingHash{LoadFactor: -1}, balancertest.Options{Keyed: true}},
		"maglev":          {balancer.Maglev{}, balancertest.Options{Keyed: true}},
		"maglev, small":   {balancer.Maglev{TableSize: 1009}, balancertest.Options{Keyed: true}},
	} {
		t.Run(name, func(t *testing.T) {
			balancertest.Run(t, c.policy, c.o)
		})
	}
}

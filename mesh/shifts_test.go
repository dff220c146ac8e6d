package mesh

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// What several balancers of one service do is told once, by the first and the last.
func TestShiftsAreToldOncePerService(t *testing.T) {
	t.Parallel()
	var log logged
	m := member(t, Config{Service: "caller", Locality: resolver.Locality{Cloud: "here"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	snap := func(critical int) *resolver.Snapshot {
		s := &resolver.Snapshot{Service: "pay", State: resolver.Known}
		for i := range 4 {
			ep := &resolver.Endpoint{ID: resolver.ID{Source: "x", Instance: string(rune('a' + i))}, Service: "pay", Addr: "10.0.0.1:1", Locality: resolver.Locality{Cloud: "here"}}
			if i >= 2 {
				ep.Locality.Cloud = "there"
			}
			if i < critical {
				ep.Health = resolver.Critical
			}
			s.Endpoints = append(s.Endpoints, ep)
		}
		return s
	}
	var all []*balancer.Balancer
	for range 2 {
		b, err := balancer.New(m.to.of("pay").balancer, balancer.Connector{Connect: func(n *balancer.Node) balancer.Conn { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		all = append(all, b)
	}
	for _, step := range []struct {
		critical int
		want     []string
	}{
		{0, nil},
		{2, []string{`level=WARN msg=failover.started service=pay from=here/-/- to=there/-/- to_service=pay share=0 healthy=0`}},
		{4, []string{`level=WARN msg=panic_mode.entered service=pay from=here/-/- healthy=0`}},
	} {
		for _, b := range all {
			b.Update(snap(step.critical))
		}
		for _, w := range step.want {
			if strings.Count(log.String(), w) != 1 {
				t.Errorf("%d critical: want once %q in\n%s", step.critical, w, log.String())
			}
		}
	}
	if s := log.String(); strings.Count(s, "failover.") != 1 || strings.Count(s, "panic_mode.") != 1 {
		t.Errorf("told too much:\n%s", s)
	}
	all[0].Close()
	if s := log.String(); strings.Contains(s, ".left") || strings.Contains(s, ".ended") {
		t.Errorf("ended, and another balancer is still in it:\n%s", s)
	}
	all[1].Close()
	for _, w := range []string{`level=INFO msg=panic_mode.left service=pay from=here/-/- reason="connection closed"`, `level=INFO msg=failover.ended service=pay from=here/-/- reason="connection closed"`} {
		if strings.Count(log.String(), w) != 1 {
			t.Errorf("want once %q in\n%s", w, log.String())
		}
	}
}

func TestExhaustedBudgetIsToldOnce(t *testing.T) {
	t.Parallel()
	var log logged
	m, good, bad := two(t, "grpc", Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Policy: ServicePolicy{
		Budget: resilience.BudgetConfig{Ratio: 1e-9, Reserve: 1e-9}, NoOutlier: true, NoBreaker: true, Idempotent: []string{emptyCall},
	}})
	client := dial(t, m, "pay")
	meet(t, good, bad, func() { _, _ = client.EmptyCall(bound(t), &grpc_testing.Empty{}) })
	failed := uint64(0)
	for range 100 {
		if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
			failed++
		}
	}
	if st := m.to.of("pay").way.loop.Status(); failed == 0 || st.Exhausted < failed {
		t.Errorf("%d calls failed, %d found no budget", failed, st.Exhausted)
	}
	if s := log.String(); !strings.Contains(s, `level=WARN msg=retry_budget.exhausted service=pay method=`+emptyCall+` calls=1`) {
		t.Errorf("not told:\n%s", s)
	}
}

func TestExhaustedIsRateLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logged
		told := exhausted(slog.New(slog.NewTextHandler(&log, nil)), "pay")
		in := &resilience.Info{Service: "pay", Method: emptyCall}
		for range 1000 {
			told(in)
		}
		time.Sleep(eventEvery)
		told(in)
		if s := log.String(); strings.Count(s, "retry_budget.exhausted") != 2 || !strings.Contains(s, "calls=1\n") || !strings.Contains(s, "calls=1000\n") {
			t.Errorf("told:\n%s", s)
		}
	})
}

func TestExhaustedAllocatesNothing(t *testing.T) {
	told := exhausted(slog.New(slog.DiscardHandler), "pay")
	in := &resilience.Info{Service: "pay", Method: emptyCall}
	if n := testing.AllocsPerRun(10000, func() { told(in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

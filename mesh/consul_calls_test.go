package mesh_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/security"
)

// TestConsul has the tests that share one agent, which nobody disturbs.
func TestConsul(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws", Region: "us-east-1", Zone: "us-east-1a"})
	for name, test := range map[string]func(*testing.T, *consultest.Agent){
		"calls and identities":    testCalls,
		"a new instance is found": testChanges,
		"rolling restart":         testRollingRestart,
		"crash":                   testCrash,
		"leave":                   testLeave,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, agent)
		})
	}
}

// testCalls: join, serve both protocols under one name, dial, call; the server sees
// the caller's identity.
func testCalls(t *testing.T, agent *consultest.Agent) {
	in := start(t, "payments-1", at(agent, "payments"))
	cfg := at(agent, "checkout")
	cfg.Locality.Cloud = ""
	cfg.Clouds[0].Name = "aws"
	m := join(t, cfg)
	want := security.ServiceID{Namespace: "default", Datacenter: "aws", Service: "checkout"}
	each(t, calls(t, m, "payments"), func(t *testing.T, c call) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		a, err := c(ctx)
		if err != nil {
			t.Fatal(err)
		}
		id, err := security.ParseServiceID(a.peer)
		if err != nil {
			t.Fatal(err)
		}
		want := want
		want.TrustDomain = id.TrustDomain
		if id != want || a.server != "payments-1" {
			t.Errorf("answer of %q, which saw %+v; want %+v", a.server, id, want)
		}
	})
	for _, w := range [][2]string{{"Locality.Cloud", "aws"}, {"Locality.Region", "us-east-1"}, {"Locality.Zone", "us-east-1a"}} {
		if got, _ := m.Settings().Get(w[0]); got.Value != w[1] || got.Origin != "consul" {
			t.Errorf("%s is %q from %s, want %q, which the agent says of itself", w[0], got.Value, got.Origin, w[1])
		}
	}
	if n := in.handled.Load(); n != 2 {
		t.Errorf("%d calls were handled, want 2", n)
	}
}

// testChanges measures how soon a client uses what Consul lists, over many
// registrations and deregistrations, and that none of them costs a call.
func testChanges(t *testing.T, agent *consultest.Agent) {
	const changes = 15 // of each kind
	service := "quotes"
	start(t, "fixed", at(agent, service))
	l := begin(t, calls(t, join(t, at(agent, "reader")), service))
	var found, gone []time.Duration
	for i := range changes {
		cfg := graceful(agent, service)
		cfg.Propagation = 500 * time.Millisecond
		name := fmt.Sprintf("fleeting-%d", i)
		in := start(t, name, cfg)
		registered := time.Now()
		l.answers(name)
		found = append(found, time.Since(registered))
		ended := make(chan struct{})
		go func() { in.stop(t); close(ended) }()
		began, last, before := time.Now(), time.Now(), l.count(name)
		until(t, name+" is gone", func() bool {
			if n := l.count(name); n > before {
				before, last = n, time.Now()
			}
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		gone = append(gone, last.Sub(began))
		l.rounds(1) // who has its last answer has counted it
		after := l.since(2)
		if after[name] > 0 {
			t.Errorf("%s answered %d calls after its end", name, after[name])
		}
	}
	l.unharmed("while instances came and went")
	p50, p99 := quantiles(found)
	t.Logf("registered to first call: p50 %v p99 %v", p50, p99)
	p50, p99 = quantiles(gone)
	t.Logf("told to leave to last call: p50 %v p99 %v", p50, p99)
}

func quantiles(d []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100]
}

// testRollingRestart replaces all instances, one after the other, under load.
func testRollingRestart(t *testing.T, agent *consultest.Agent) {
	const fleet = 3
	var old []*instance
	for i := range fleet {
		old = append(old, start(t, fmt.Sprintf("old-%d", i), graceful(agent, "orders")))
	}
	l := begin(t, calls(t, join(t, at(agent, "shop")), "orders"))
	for i, in := range old {
		name := fmt.Sprintf("new-%d", i)
		start(t, name, graceful(agent, "orders"))
		l.answers(name)
		in.stop(t)
		l.rounds(1) // who has its last answer has counted it
		if got := l.since(2); got[in.name] > 0 {
			t.Errorf("%s answered %d calls after its end", in.name, got[in.name])
		}
	}
	l.stop()
	l.unharmed("in a rolling restart")
	t.Logf("%d calls", l.total())
}

// testCrash ends two of three instances without a goodbye, while Consul lists them on.
func testCrash(t *testing.T, agent *consultest.Agent) {
	service := "search"
	var fleet []*instance
	for i := range 3 {
		fleet = append(fleet, start(t, fmt.Sprintf("search-%d", i), at(agent, service)))
	}
	l := begin(t, calls(t, join(t, at(agent, "portal")), service))
	for _, in := range fleet {
		l.answers(in.name)
	}
	inFlight := l.crash(fleet[1:]...)
	if got := l.since(60); len(got) != 1 || got["search-0"] == 0 {
		t.Errorf("after the crash calls went to %v, want search-0 only", got)
	}
	l.stop()
	if n := len(l.failures()); n > inFlight {
		t.Errorf("%d calls failed after those in flight: %v", n-inFlight, l.failures()[n-1].err)
	}
	t.Logf("%d calls, %d of them in flight at the crash failed", l.total(), inFlight)
}

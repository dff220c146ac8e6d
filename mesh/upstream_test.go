package mesh

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

// What the caller's own service-defaults entry says of its calls holds, and a change
// of it costs no call.
func TestUpstreamConfig(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	h := &echo{entered: make(chan struct{}, 4), hold: make(chan struct{})}
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	server := member(t, Config{Service: "web", Locality: resolver.Locality{Cloud: "aws"}, Embedded: e, Registrar: reg, Propagation: -1})
	serve(t, server, grpcServer(server, h))
	<-reg.registered
	mine := func(limit string) string {
		return `{"Kind":"service-defaults","Name":"caller","UpstreamConfig":{"Defaults":{"Limits":{"MaxConcurrentRequests":9,"MaxPendingRequests":1}},
			"Overrides":[{"Name":"web","Limits":{"MaxConcurrentRequests":` + limit + `},"PassiveHealthCheck":{"MaxFailures":2,"Interval":"3s"}}]}}`
	}
	ent := newEntries(t, mine("1"))
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	client := dial(t, m, "web")
	release := sync.OnceFunc(func() { close(h.hold) })
	t.Cleanup(release) // the server waits for its handlers
	// The newest call that was let in stays: once the limit is in effect, it holds the place.
	end, first := func() {}, make(chan error, 1)
	await(t, "one call too many", func() (string, error) {
		ctx, cancel := context.WithCancel(bound(t))
		result := make(chan error, 1)
		go func() {
			_, err := client.EmptyCall(ctx, &grpc_testing.Empty{}, grpc.WaitForReady(true))
			result <- err
		}()
		select {
		case <-h.entered:
			end()
			end, first = func() { cancel(); <-result }, result
			return "let in", nil
		case err := <-result:
			cancel()
			if errors.Is(err, resilience.ErrConcurrency) {
				return "refused", nil
			}
			return "", err
		}
	}, "refused")
	ent.put(t, mine("100"))
	again := make(chan error, 1)
	await(t, "after the change", func() (string, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_, err := client.EmptyCall(ctx, &grpc_testing.Empty{})
			again <- err
		}()
		select {
		case <-h.entered:
			cancel()
			<-again
			return "let in", nil
		case err := <-again:
			return err.Error(), nil
		}
	}, "let in")
	release()
	if err := <-first; err != nil {
		t.Errorf("the call that was let in: %v", err)
	}
	if s := m.Routes(); len(s) != 1 || len(s[0].Problems) != 0 {
		t.Errorf("problems of the override, which has all of its own limits: %+v", s)
	}
}

func TestWithUpstream(t *testing.T) {
	t.Parallel()
	four, off, half := uint32(4), uint32(0), uint32(50)
	base := 7 * time.Second
	for name, tt := range map[string]struct {
		policy ServicePolicy
		check  chain.PassiveHealthCheck
		want   resilience.OutlierConfig
	}{
		"all": {check: chain.PassiveHealthCheck{MaxFailures: 3, Interval: time.Second, MaxEjectionPercent: &half, BaseEjectionTime: &base},
			want: resilience.OutlierConfig{Consecutive: 3, Interval: time.Second, MaxShare: 0.5, BaseEjection: base}},
		"the newer name":         {check: chain.PassiveHealthCheck{MaxFailures: 3, Consecutive5xx: &four}, want: resilience.OutlierConfig{Consecutive: 4}},
		"off":                    {check: chain.PassiveHealthCheck{EnforcingConsecutive5xx: &off}, want: resilience.OutlierConfig{Consecutive: -1}},
		"the policy's own stays": {ServicePolicy{Outlier: resilience.OutlierConfig{Consecutive: 9}}, chain.PassiveHealthCheck{MaxFailures: 3}, resilience.OutlierConfig{Consecutive: 9}},
	} {
		got := withUpstream(tt.policy, &chain.Upstream{PassiveHealthCheck: &tt.check}).Outlier
		if got.Consecutive != tt.want.Consecutive || got.Interval != tt.want.Interval || got.MaxShare != tt.want.MaxShare || got.BaseEjection != tt.want.BaseEjection {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// An override replaces a field of the defaults as a whole, as in Consul.
func TestUpstreamOverride(t *testing.T) {
	t.Parallel()
	list, _, err := chain.DecodeEntries([]byte(`{"Kind":"service-defaults","Name":"caller","UpstreamConfig":{
		"Defaults":{"Limits":{"MaxConcurrentRequests":9,"MaxPendingRequests":1},"ConnectTimeoutMs":700},
		"Overrides":[{"Name":"web","Limits":{"MaxConcurrentRequests":2}}]}}`), chain.JSON)
	if err != nil {
		t.Fatal(err)
	}
	d := list[0].(*chain.ServiceDefaults)
	if u := d.Upstream("web"); u.Limits.MaxPendingRequests != nil || *u.Limits.MaxConcurrentRequests != 2 || u.ConnectTimeoutMs != 700 {
		t.Errorf("web: %s", u)
	}
	if u := d.Upstream("other"); *u.Limits.MaxConcurrentRequests != 9 || !strings.Contains(u.String(), "pending 1") {
		t.Errorf("other: %s", u)
	}
	if u := (*chain.ServiceDefaults)(nil).Upstream("web"); u != nil {
		t.Errorf("without an entry: %s", u)
	}
}

package resolver_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/experimental/balancer/weight"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// channel is a gRPC channel as a resolver sees it.
type channel struct {
	grpcresolver.ClientConn
	refuse   error
	parseErr error

	mu     sync.Mutex
	states []grpcresolver.State
	errs   []error
	parsed int
}

func (c *channel) UpdateState(s grpcresolver.State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, s)
	return c.refuse
}

func (c *channel) ReportError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

func (c *channel) ParseServiceConfig(string) *serviceconfig.ParseResult {
	c.parsed++
	return &serviceconfig.ParseResult{Err: c.parseErr}
}

func (c *channel) last(t testing.TB) grpcresolver.State {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.states) == 0 {
		t.Fatalf("no state; errors %v", c.errs)
	}
	return c.states[len(c.states)-1]
}

func target(t testing.TB, s string) grpcresolver.Target {
	t.Helper()
	u, err := url.Parse(s)
	must(t, err)
	return grpcresolver.Target{URL: *u}
}

func build(t testing.TB, b *resolver.Builder, cc grpcresolver.ClientConn) grpcresolver.Resolver {
	t.Helper()
	r, err := b.Build(target(t, "mesh:///payments"), cc, grpcresolver.BuildOptions{})
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

type tokenKey struct{}

func TestStateCarriesWhatPoliciesNeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		must(t, cat.Set("payments",
			resolver.Endpoint{Addr: "10.0.0.1:1", Weight: 7, SPIFFEID: "spiffe://td/payments"},
			resolver.Endpoint{Addr: "[2001:db8::1]:2"},
			resolver.Endpoint{Addr: "10.0.0.3:3", Health: resolver.Critical},
			resolver.Endpoint{Addr: "10.0.0.4:4", Health: resolver.Warning}))
		cc := &channel{}
		b := resolver.NewBuilder(cat, resolver.BuilderConfig{
			ServiceConfig: "{}",
			Decorate:      func(s *grpcresolver.State) { s.Attributes = s.Attributes.WithValue(tokenKey{}, 1) },
		})
		build(t, b, cc).ResolveNow(grpcresolver.ResolveNowOptions{})
		s := cc.last(t)
		snap := resolver.SnapshotOf(s)
		if snap == nil || len(snap.Endpoints) != 4 || s.Attributes.Value(tokenKey{}) != 1 || s.ServiceConfig == nil {
			t.Fatalf("state %+v, want the whole snapshot, the decoration and the service config", s)
		}
		if len(s.Endpoints) != 3 || s.Addresses != nil {
			t.Fatalf("%d endpoints, want the 3 that are not critical", len(s.Endpoints))
		}
		all := resolver.EndpointsOf(s)
		if len(all) != 4 {
			t.Fatalf("%d endpoints with the critical one, want 4", len(all))
		}
		for i, e := range all {
			if resolver.EndpointOf(e) != snap.Endpoints[i] {
				t.Errorf("endpoint %d is not that of the snapshot", i)
			}
		}
		for _, e := range slices.Concat(s.Endpoints, all) {
			ep := resolver.EndpointOf(e)
			if ep == nil || e.Addresses[0].Addr != ep.Addr || weight.FromEndpoint(e).Weight != ep.Weight ||
				resolver.ExpectedSPIFFEID(e.Addresses[0].Attributes) != ep.SPIFFEID || e.Addresses[0].ServerName != "" {
				t.Errorf("endpoint %+v of %+v", e, ep)
			}
		}

		// A change of weight is none of the connection's identity, a change of identity is.
		old := map[string]*attributes.Attributes{}
		for _, e := range s.Endpoints {
			old[e.Addresses[0].Addr] = e.Addresses[0].Attributes
		}
		must(t, cat.Set("payments",
			resolver.Endpoint{Addr: "10.0.0.1:1", Weight: 9, SPIFFEID: "spiffe://td/payments"},
			resolver.Endpoint{Addr: "10.0.0.4:4", SPIFFEID: "spiffe://td/other"}))
		s = cc.last(t)
		for _, e := range s.Endpoints {
			a := e.Addresses[0]
			if same := a.Attributes.Equal(old[a.Addr]); same != (a.Addr == "10.0.0.1:1") {
				t.Errorf("%s: attributes equal %v", a.Addr, same)
			}
		}
		if cc.parsed != 1 {
			t.Errorf("the service config was parsed %d times", cc.parsed)
		}
	})
}

func TestExpectedIDOverrides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		must(t, cat.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:1", SPIFFEID: "spiffe://td/catalog"}))
		cc := &channel{}
		build(t, resolver.NewBuilder(cat, resolver.BuilderConfig{ExpectedID: func(e *resolver.Endpoint) string { return e.SPIFFEID + "/own" }}), cc)
		if got := resolver.ExpectedSPIFFEID(cc.last(t).Endpoints[0].Addresses[0].Attributes); got != "spiffe://td/catalog/own" {
			t.Errorf("expected ID %q", got)
		}
	})
	if id := resolver.ExpectedSPIFFEID(nil); id != "" {
		t.Errorf("expected ID %q of no attributes", id)
	}
	if id := resolver.ExpectedSPIFFEID(resolver.WithExpectedSPIFFEID(nil, "spiffe://td/a")); id != "spiffe://td/a" {
		t.Errorf("expected ID %q", id)
	}
	if resolver.EndpointOf(grpcresolver.Endpoint{}) != nil || resolver.SnapshotOf(grpcresolver.State{}) != nil {
		t.Error("an endpoint or snapshot of a foreign state")
	}
}

// A policy that rejects a state keeps what it had: the resolver counts and goes on.
func TestRejectedStateIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 2)
		cc := &channel{refuse: balancer.ErrBadResolverState}
		b := resolver.NewBuilder(cat, resolver.BuilderConfig{})
		build(t, b, cc)
		cc.last(t)
		set(t, cat, "payments", 3)
		if s := cc.last(t); len(s.Endpoints) != 3 || b.Rejected() != 2 || len(cc.errs) != 0 {
			t.Errorf("%d endpoints, %d rejected, errors %v", len(s.Endpoints), b.Rejected(), cc.errs)
		}
	})
}

func TestTargets(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	b := resolver.NewBuilder(static.New(static.Config{}), resolver.BuilderConfig{})
	for _, tt := range []struct{ target, want string }{
		{"mesh:///payments", ""},
		{"mesh:payments", ""},
		{"mesh:/payments", ""},
		{"mesh:///payments?token=" + secret, "has a query"},
		{"mesh:payments?token=" + secret, "has a query"},
		{"mesh:///payments?", "has a query"},
		{"mesh:///payments#" + secret, "a fragment"},
		{"mesh://user:" + secret + "@/payments", "user information"},
		{"mesh://payments", "write mesh:///service"},
		{"mesh:///", "empty service name"},
		{"mesh:", "empty service name"},
		{"mesh:///payments/v1", "not allowed in service name"},
		{"mesh:///pay%20ments", "not allowed in service name"},
		{"mesh:///payments:8080", "not allowed in service name"},
	} {
		r, err := b.Build(target(t, tt.target), &channel{}, grpcresolver.BuildOptions{})
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: error %v, want one with %q and without the secret", tt.target, err, tt.want)
		}
		if err == nil {
			r.Close()
			r.Close()
		}
	}
	if _, err := resolver.NewBuilder(nil, resolver.BuilderConfig{}).Build(target(t, "mesh:///a"), &channel{}, grpcresolver.BuildOptions{}); err == nil {
		t.Error("a builder without a catalog builds")
	}
}

// slow is a source whose Watch takes part of the test to return, and says when it did.
type slow struct{ release, returned chan struct{} }

func (s slow) Watch(ctx context.Context, _ string, _ func(*resolver.Snapshot)) error {
	<-ctx.Done()
	<-s.release
	close(s.returned)
	return ctx.Err()
}

func TestCloseWaitsForTheWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := slow{make(chan struct{}), make(chan struct{})}
		r := build(t, resolver.NewBuilder(src, resolver.BuilderConfig{}), &channel{})
		closed := make(chan struct{})
		go func() { r.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close returned while the watch runs")
		default:
		}
		close(src.release)
		<-closed
		select {
		case <-src.returned:
		default:
			t.Error("Close returned before the watch")
		}
	})
}

func TestWatchThatEndsIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc := &channel{}
		build(t, resolver.NewBuilder(fails{}, resolver.BuilderConfig{}), cc)
		synctest.Wait()
		cc.mu.Lock()
		defer cc.mu.Unlock()
		if len(cc.errs) != 1 || !errors.Is(cc.errs[0], errBroken) || !strings.Contains(cc.errs[0].Error(), `"payments"`) {
			t.Errorf("errors %v, want the one of the watch", cc.errs)
		}
	})
}

func TestServiceOf(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	for _, tt := range []struct{ url, service, want string }{
		{"http://payments/items/7?a=b", "payments", ""},
		{"https://payments.v2", "payments.v2", ""},
		{"http://payments:80/", "", "port"},
		{"http://payments:/", "", "port"},
		{"http://10.0.0.1/", "", "IP address"},
		{"http://10.0.0.1:80/", "", "IP address"},
		{"http://[2001:db8::1]/", "", "IP address"},
		{"http://user:" + secret + "@payments/", "", "user information"},
		{"ftp://payments/", "", "scheme"},
		{"payments/items?token=" + secret, "", "scheme"},
		{"http:///items", "", "host"},
		{"http://pay%20ments/?token=" + secret, "", "host"},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			continue // net/url refuses it already
		}
		got, err := resolver.ServiceOf(u)
		if got != tt.service || (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: %q, %v; want %q, error with %q", tt.url, got, err, tt.service, tt.want)
		}
	}
	if _, err := resolver.ServiceOf(nil); err == nil {
		t.Error("no URL has a service")
	}
}

func TestBadServiceConfigFailsBuild(t *testing.T) {
	t.Parallel()
	cc := &channel{parseErr: errBroken}
	b := resolver.NewBuilder(static.New(static.Config{}), resolver.BuilderConfig{ServiceConfig: "{"})
	if _, err := b.Build(target(t, "mesh:///payments"), cc, grpcresolver.BuildOptions{}); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "ServiceConfig") {
		t.Errorf("error %v, want the one of the service config", err)
	}
}

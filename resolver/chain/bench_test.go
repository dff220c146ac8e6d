package chain

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"unsafe"

	"github.com/weft-mesh/weft/resolver"

	"google.golang.org/grpc/metadata"
)

// twenty is a router of 20 routes of all kinds, the last but one of which matches.
func twenty() *Chain {
	var m []*HTTPMatch
	for i := range 20 {
		switch i % 5 {
		case 0:
			m = append(m, &HTTPMatch{PathPrefix: fmt.Sprintf("/api/v%d/", i)})
		case 1:
			m = append(m, &HTTPMatch{PathExact: fmt.Sprintf("/api/exact/%d", i)})
		case 2:
			m = append(m, &HTTPMatch{PathPrefix: "/shop/", Header: []HeaderMatch{{Name: "x-canary", Exact: fmt.Sprint("v", i)}}})
		case 3:
			m = append(m, &HTTPMatch{PathPrefix: "/shop/", Header: []HeaderMatch{{Name: "x-user-id", Regex: fmt.Sprintf("u%d-[0-9]+", i)}}, Methods: []string{"DELETE"}})
		case 4:
			m = append(m, &HTTPMatch{PathPrefix: "/admin", QueryParam: []QueryMatch{{Name: "env", Exact: "qa"}}})
		}
	}
	m[19] = &HTTPMatch{PathPrefix: "/shop/items/"}
	return routes(m...)
}

func shopHTTP(t testing.TB) *http.Request {
	u, err := url.Parse("http://web/shop/items/7?env=prod")
	if err != nil {
		t.Fatal(err)
	}
	return &http.Request{Method: "GET", URL: u, Host: "web", Header: http.Header{"X-Canary": {"no"}, "X-User-Id": {"7"}, "Accept": {"*/*"}}}
}

func TestRouteAllocates(t *testing.T) { // not parallel: it counts
	if raceEnabled {
		t.Log("counts hold without the race detector")
		return
	}
	twenty := evaluator(t, twenty(), Options{})
	plain, _ := sample(t, defaultChain)
	one := evaluator(t, plain, Options{})
	three := evaluator(t, split(50, 30, 20), Options{})
	sticky := evaluator(t, split(50, 30, 20), Options{Policy: Policy{Sticky: []string{"header:x-user-id"}}})
	guarded := evaluator(t, split(50, 50), Options{Guard: NewGuard(GuardConfig{}), Policy: Policy{Guard: Objective{MaxErrors: 0.1}}})
	api, _ := sample(t, apiChain)
	ring := evaluator(t, api, Options{})
	hr := shopHTTP(t)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-canary", "no", "x-user-id", "7")
	for _, tc := range []struct {
		name string
		most float64
		run  func()
	}{
		{"20 routes, HTTP", 0, func() { r := HTTPRequest(hr); twenty.Route(&r) }},
		{"20 routes, gRPC: each header that is read", 1, func() { r := GRPCRequest(ctx, "/shop/items/7", "web"); twenty.Route(&r) }},
		{"no router", 0, func() { one.Route(&Request{}) }},
		{"split", 0, func() { three.Route(&Request{}) }},
		{"sticky split, HTTP", 0, func() { r := HTTPRequest(hr); sticky.Route(&r) }},
		{"sticky split by the caller's key", 0, func() { sticky.Route(&Request{Key: "7"}) }},
		{"guarded split and its end", 0, func() { d := guarded.Route(&Request{}); d.Done(false, 1000) }},
		{"hash by header", 0, func() { r := HTTPRequest(hr); ring.Route(&r) }},
	} {
		if got := testing.AllocsPerRun(100, tc.run); got > tc.most {
			t.Errorf("%s: %v allocations, at most %v", tc.name, got, tc.most)
		}
	}
}

func BenchmarkRoute20HTTP(b *testing.B) {
	e := evaluator(b, twenty(), Options{})
	hr := shopHTTP(b)
	b.ReportAllocs()
	for b.Loop() {
		r := HTTPRequest(hr)
		if d := e.Route(&r); d.Route != 19 {
			b.Fatal(d.Route)
		}
	}
}

func BenchmarkRoute20GRPC(b *testing.B) {
	e := evaluator(b, twenty(), Options{})
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-canary", "no", "x-user-id", "7")
	b.ReportAllocs()
	for b.Loop() {
		r := GRPCRequest(ctx, "/shop/items/7", "web")
		if d := e.Route(&r); d.Route != 19 {
			b.Fatal(d.Route)
		}
	}
}

func BenchmarkNoRouter(b *testing.B) {
	c, _ := sample(b, defaultChain)
	e := evaluator(b, c, Options{})
	r := &Request{Path: "/"}
	b.ReportAllocs()
	for b.Loop() {
		if e.Route(r).Plan == nil {
			b.Fatal()
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, tc := range []struct {
		name string
		opt  Options
		r    Request
	}{
		{"drawn", Options{}, Request{}},
		{"sticky", Options{}, Request{Key: "user-7"}},
		{"guarded", Options{Guard: NewGuard(GuardConfig{}), Policy: Policy{Guard: Objective{MaxErrors: 0.1}}}, Request{}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			e := evaluator(b, split(50, 30, 20), tc.opt)
			b.ReportAllocs()
			for b.Loop() {
				e.Route(&tc.r)
			}
		})
	}
}

func BenchmarkGuardDone(b *testing.B) {
	e := evaluator(b, split(50, 50), Options{Guard: NewGuard(GuardConfig{}), Policy: Policy{Guard: Objective{MaxErrors: 0.1}}})
	d := e.Route(&Request{})
	b.ReportAllocs()
	for b.Loop() {
		d.Done(false, 1000)
	}
}

func TestFilterAllocates(t *testing.T) { // not parallel: it counts
	if raceEnabled {
		t.Log("counts hold without the race detector")
		return
	}
	const remote = `Checks.Status == "passing"`
	e := endpoint("n1", "web-1", map[string]string{"version": "1.2"}, "green")
	e.Marks = &resolver.Marks{In: []string{remote}}
	for _, expr := range []string{`Service.Meta.version == "1.2" and "green" in Service.Tags and not (Service.Meta.none == "x")`, `Service.Port == 8080`, remote} {
		f, _ := NewFilter(filtered(expr), Residency{})
		if n := testing.AllocsPerRun(1000, func() {
			if !f.Match(e) {
				t.Error("it does not match")
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations per endpoint", expr, n)
		}
	}
	if size := unsafe.Sizeof(*e); size > 208 { // an allocator's size class
		t.Errorf("an endpoint has %d bytes", size)
	}
}

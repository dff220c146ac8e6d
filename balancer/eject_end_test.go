package balancer

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// newOutlier ejects for longer than a test takes on a slow machine, and tells when
// it has.
func newOutlier(t *testing.T, ejected *atomic.Bool) *resilience.Outlier {
	t.Helper()
	o, err := resilience.NewOutlier(resilience.OutlierConfig{BaseEjection: time.Hour, OnEvent: func(resilience.OutlierEvent) { ejected.Store(true) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// A server that fails every call at once is out after a handful, while many call:
// the ejection happens on the goroutine of the fifth failure, and no call that begins
// after it fails.
func TestGRPCOutlier(t *testing.T) {
	t.Parallel()
	var ejected atomic.Bool
	o := newOutlier(t, &ejected)
	good := startBackend(t, "", nil, echo)
	bad := startBackend(t, "", func(context.Context, string) (string, error) {
		return "", status.Error(codes.Unavailable, "broken")
	}, echo)
	state := endpoints(good.addr, bad.addr)
	Attach(&state, &Config{Policy: RoundRobin{}, Store: &Store{}, Outlier: o})
	cc := dial(t, newResolver(state))
	var before, after atomic.Int64
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 100 {
				failed := &before
				if ejected.Load() {
					failed = &after
				}
				if _, err := call(t.Context(), cc, "", grpc.WaitForReady(true)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	calls.Wait()
	if before.Load() < 5 || after.Load() > 0 || !ejected.Load() {
		t.Errorf("ejected: %v; of 800 calls %d failed that began before that, and %d after it", ejected.Load(), before.Load(), after.Load())
	}
}

func TestHTTPOutlier(t *testing.T) {
	t.Parallel()
	o := newOutlier(t, &atomic.Bool{})
	good := site(t, true, func(http.ResponseWriter, *http.Request) {})
	bad := site(t, true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	cat := shop(t,
		resolver.Endpoint{ID: resolver.ID{Source: "s", Instance: "good"}, Addr: addrOf(good)},
		resolver.Endpoint{ID: resolver.ID{Source: "s", Instance: "bad"}, Addr: addrOf(bad)})
	tr := newTransport(t, TransportConfig{Catalog: cat, Plaintext: true, Balancer: Config{Outlier: o}})
	failed := 0
	for range 200 {
		_, resp, err := get(t, tr)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			failed++
		}
	}
	if failed != 5 {
		t.Errorf("%d of 200 requests failed, want 5", failed)
	}
}

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

// newOutlier ejects for longer than a test takes on a slow machine.
func newOutlier(t *testing.T) *resilience.Outlier {
	t.Helper()
	o, err := resilience.NewOutlier(resilience.OutlierConfig{BaseEjection: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// A server that fails every call at once is out after a handful, while many call;
// the ejection happens on the goroutines of the calls.
func TestGRPCOutlier(t *testing.T) {
	t.Parallel()
	o := newOutlier(t)
	good := startBackend(t, "", nil, echo)
	bad := startBackend(t, "", func(context.Context, string) (string, error) {
		return "", status.Error(codes.Unavailable, "broken")
	}, echo)
	state := endpoints(good.addr, bad.addr)
	Attach(&state, &Config{Policy: RoundRobin{}, Store: &Store{}, Outlier: o})
	cc := dial(t, newResolver(state))
	var failed atomic.Int64
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 100 {
				if _, err := call(t.Context(), cc, "", grpc.WaitForReady(true)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	calls.Wait()
	if n := failed.Load(); n < 5 || n > 5+8 { // eight may be under way
		t.Errorf("%d of 800 calls failed", n)
	}
}

func TestHTTPOutlier(t *testing.T) {
	t.Parallel()
	o := newOutlier(t)
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

package balancer

import (
	"context"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// innocent makes an Outlier that ejects at the third failure and takes none, and
// who hears of attempts.
func innocent(t *testing.T) (cfg *Config, blamed func() int) {
	t.Helper()
	failures, ejected := make(chan struct{}, 1000), make(chan string, 1000)
	o, err := resilience.NewOutlier(resilience.OutlierConfig{
		Consecutive: 3, OnEvent: func(ev resilience.OutlierEvent) { ejected <- ev.Endpoint },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return &Config{Policy: RoundRobin{}, Store: &Store{}, SubsetSize: -1, Outlier: o, Observe: func(_ *Node, o resilience.Outcome, _ time.Duration) {
		if o.Failed() {
			failures <- struct{}{}
		}
	}}, func() int { return len(failures) + len(ejected) }
}

// Callers that leave, whose time is over, or who drop their streams do not make an
// endpoint guilty, however often.
func TestGRPCCallersEndBlamesNobody(t *testing.T) {
	t.Parallel()
	cfg, blamed := innocent(t)
	entered := make(chan struct{}, 100)
	hang := func(ctx context.Context, in string) (string, error) {
		if in == "hang" {
			entered <- struct{}{}
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "", nil
	}
	a, b := startBackend(t, "", hang, echo), startBackend(t, "", hang, echo)
	st := endpoints(a.addr, b.addr)
	Attach(&st, cfg)
	cc := dial(t, newResolver(st))
	if _, err := call(t.Context(), cc, "", grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-entered; cancel() }()
		if _, err := call(ctx, cc, "hang"); err == nil {
			t.Error("a cancelled call succeeded")
		}
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, _ = call(ctx, cc, "hang")
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		s, err := openStream(ctx, cc)
		if err != nil {
			t.Fatal(err)
		}
		say(t, s)
		cancel() // resets the stream
		_ = s.RecvMsg(nil)
		for len(entered) > 0 { // of calls that ran out of time
			<-entered
		}
	}
	if n := blamed(); n > 0 {
		t.Errorf("%d failures and ejections for what callers did", n)
	}
}

func TestHTTPCallersEndBlamesNobody(t *testing.T) {
	t.Parallel()
	cfg, blamed := innocent(t)
	entered := make(chan struct{}, 100)
	hang := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" { // the header comes, the body does not
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		entered <- struct{}{}
		<-r.Context().Done()
	}
	a, b := site(t, true, hang), site(t, true, hang)
	cat := shop(t,
		resolver.Endpoint{ID: resolver.ID{Source: "s", Instance: "a"}, Addr: addrOf(a)},
		resolver.Endpoint{ID: resolver.ID{Source: "s", Instance: "b"}, Addr: addrOf(b)})
	tr := newTransport(t, TransportConfig{Catalog: cat, Plaintext: true, Balancer: *cfg})
	for range 20 {
		for _, path := range []string{"/", "/body"} {
			ctx, cancel := context.WithCancel(t.Context())
			left := make(chan struct{})
			go func() { defer close(left); <-entered; cancel() }()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := tr.RoundTrip(req); err == nil {
				_, err = resp.Body.Read(make([]byte, 1))
				if err == nil {
					t.Error("a body came")
				}
				_ = resp.Body.Close()
			}
			<-left
			cancel()
		}
	}
	if n := blamed(); n > 0 {
		t.Errorf("%d failures and ejections for what callers did", n)
	}
}

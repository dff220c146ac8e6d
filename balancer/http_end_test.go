package balancer

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

func TestGate(t *testing.T) {
	t.Parallel()
	var g gate
	first, second := g.enter(), g.enter()
	if !first || !second || g.leave() || g.retireIdle() {
		t.Fatal("an open gate does not count")
	}
	if g.retire() || g.enter() || !g.leave() {
		t.Fatal("a gate that was shut with one inside does not end with it")
	}
	if g.retire() || g.retireIdle() {
		t.Fatal("a gate ended twice")
	}
	if h := (gate{}); !h.retireIdle() || h.enter() || h.retire() {
		t.Fatal("an idle gate cannot be shut")
	}
	// Whoever gets in while it is shut is seen out: the end comes once, and last.
	for range 200 {
		var g gate
		var inside, ends atomic.Int32
		var wg sync.WaitGroup
		end := func(over bool) {
			if over && (ends.Add(1) > 1 || inside.Load() != 0) {
				t.Error("the gate ended twice, or with somebody inside")
			}
		}
		for range 4 {
			wg.Go(func() {
				for g.enter() {
					inside.Add(1)
					inside.Add(-1)
					end(g.leave())
				}
			})
		}
		end(g.retire())
		wg.Wait()
		if ends.Load() != 1 {
			t.Fatalf("the gate ended %d times", ends.Load())
		}
	}
}

// A response that is being read goes on when its endpoint leaves the catalog.
func TestHTTPRemovalLetsCallsFinish(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		proceed := make(chan struct{})
		slow := func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/slow" {
				return
			}
			_, _ = io.WriteString(w, "begin ")
			w.(http.Flusher).Flush()
			<-proceed
			_, _ = io.WriteString(w, "end")
		}
		a, b := site(t, plain, slow), site(t, plain, nil)
		cat := shop(t, resolver.Endpoint{Addr: addrOf(a)})
		cfg := TransportConfig{Catalog: cat, Plaintext: plain}
		if !plain {
			cfg.TLS = trust(a)
		}
		tr := newTransport(t, cfg)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://shop/slow", nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		set(t, cat, resolver.Endpoint{Addr: addrOf(b)})
		for who := ""; who != addrOf(b); {
			if who, _, err = get(t, tr); err != nil && !errors.Is(err, ErrNotReady) {
				t.Fatal(err)
			}
		}
		close(proceed)
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "begin end" {
			t.Errorf("plain %v: the old response became %q, %v", plain, body, err)
		}
		_ = resp.Body.Close()
	}
}

// Endpoints come and go under load: no call fails, and no retired pool is used,
// which would break the call.
func TestHTTPChurn(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		var eps []resolver.Endpoint
		var tls *httptest.Server
		for range 6 {
			tls = site(t, plain, nil)
			eps = append(eps, resolver.Endpoint{Addr: addrOf(tls)})
		}
		cat := shop(t, eps[:2]...)
		cfg := TransportConfig{Catalog: cat, Plaintext: plain}
		if !plain {
			cfg.TLS = trust(tls)
		}
		tr := newTransport(t, cfg)
		stop, tick := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					if _, _, err := send(t, tr, "POST", "x"); err != nil {
						t.Errorf("plain %v: a call failed: %v", plain, err)
					}
					select {
					case tick <- struct{}{}:
					case <-stop:
						return
					}
				}
			})
		}
		for range 100 {
			i := rand.IntN(len(eps) - 2)
			set(t, cat, eps[i:i+1+rand.IntN(2)]...)
			for range 16 {
				<-tick
			}
		}
		close(stop)
		wg.Wait()
		if n := inFlight(tr); n != 0 {
			t.Errorf("%d in flight after all are done", n)
		}
	}
}

// A server is killed: calls under way on it fail, all others succeed.
func TestHTTPKill(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	a := site(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client left
			entered <- struct{}{}
			<-r.Context().Done()
		}
	})
	b := site(t, true, nil)
	cat := shop(t, resolver.Endpoint{Addr: addrOf(a)})
	tr := newTransport(t, TransportConfig{Catalog: cat, Plaintext: true})
	under := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://shop/hang", strings.NewReader("once"))
		_, err := tr.RoundTrip(req)
		under <- err
	}()
	<-entered
	set(t, cat, resolver.Endpoint{Addr: addrOf(a)}, resolver.Endpoint{Addr: addrOf(b)})
	for who := ""; who != addrOf(b); who, _, _ = get(t, tr) { // until b is in
	}
	_ = a.Listener.Close()
	a.CloseClientConnections()
	if err := <-under; err == nil {
		t.Error("the call under way succeeded")
	}
	for range 50 {
		if who, _, err := send(t, tr, "POST", "text"); err != nil || who != addrOf(b) {
			t.Errorf("a call after the kill: %q, %v", who, err)
		}
	}
}

// An endpoint swallows connection attempts. Callers who came to it move on when
// the attempt is over; after that nobody comes, and a probe brings it back.
func TestHTTPSwallowedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNet(t, "10.0.0.1:80", "10.0.0.2:80")
		n.swallow("10.0.0.1:80", true)
		tr := newTransport(t, TransportConfig{
			Catalog: shop(t, resolver.Endpoint{Addr: "10.0.0.1:80"}, resolver.Endpoint{Addr: "10.0.0.2:80"}), Plaintext: true, DialContext: n.dial,
		})
		defer func() { _ = tr.Close(t.Context()) }()
		start := time.Now()
		for range 20 {
			if who, _, err := get(t, tr); err != nil || who != "10.0.0.2:80" {
				t.Errorf("got %q, %v", who, err)
			}
		}
		if took := time.Since(start); took != 3*time.Second { // once, the connect timeout
			t.Errorf("20 calls took %v, want 3s", took)
		}
		n.swallow("10.0.0.1:80", false)
		time.Sleep(30 * time.Second) // longer than any probe waits
		seen := map[string]bool{}
		for range 20 {
			who, _, err := get(t, tr)
			if err != nil {
				t.Fatal(err)
			}
			seen[who] = true
		}
		if len(seen) != 2 {
			t.Errorf("after the repair calls went to %v, want both", seen)
		}
	})
}

// A service without requests is released; a later request finds it again.
func TestHTTPReleasesIdleServices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNet(t, "10.0.0.1:80")
		cat := &countingCatalog{Catalog: shop(t, resolver.Endpoint{Addr: "10.0.0.1:80"})}
		tr := newTransport(t, TransportConfig{Catalog: cat, Plaintext: true, DialContext: n.dial, ReleaseAfter: time.Minute})
		defer func() { _ = tr.Close(t.Context()) }()
		for range 5 {
			if _, _, err := get(t, tr); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Second)
		}
		if cat.open.Load() != 1 || cat.total.Load() != 1 {
			t.Errorf("%d watches are open of %d, want 1 of 1", cat.open.Load(), cat.total.Load())
		}
		time.Sleep(5 * time.Minute)
		if n := cat.open.Load(); n != 0 {
			t.Errorf("%d watches are open after the release, want 0", n)
		}
		if _, _, err := get(t, tr); err != nil {
			t.Fatal(err)
		}
		if n := cat.open.Load(); n != 1 {
			t.Errorf("%d watches are open after another request, want 1", n)
		}
	})
}

func TestHTTPCloseWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNet(t, "10.0.0.1:80")
		tr := newTransport(t, TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: "10.0.0.1:80"}), Plaintext: true, DialContext: n.dial})
		open := func() io.ReadCloser {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://shop/slow", nil)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			return resp.Body
		}
		body := open()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := tr.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Close with a body open: %v after %v, want the deadline after 1s", err, time.Since(start))
		}
		if _, err := io.ReadAll(body); err == nil {
			t.Error("a body survived the end of Close's patience")
		}
		_ = body.Close()

		tr = newTransport(t, TransportConfig{Catalog: shop(t, resolver.Endpoint{Addr: "10.0.0.1:80"}), Plaintext: true, DialContext: n.dial})
		body = open()
		closed := make(chan error)
		go func() { closed <- tr.Close(t.Context()) }()
		synctest.Wait()
		if _, _, err := get(t, tr); !errors.Is(err, ErrClosed) {
			t.Errorf("a request while closing: %v", err)
		}
		if _, err := io.ReadAll(body); err != nil { // the server takes its time
			t.Errorf("the body broke while closing: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

type countingCatalog struct {
	*static.Catalog
	open, total atomic.Int32
}

func (c *countingCatalog) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	c.open.Add(1)
	c.total.Add(1)
	defer c.open.Add(-1)
	return c.Catalog.Watch(ctx, service, deliver)
}

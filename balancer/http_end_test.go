package balancer

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/resolver"
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
		for range 60 {
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
	// The idle connections to a are looked at before they are used again: a POST that is
	// written to one of them would be lost, and not repeated.
	for range 50 {
		resp, err := tr.RoundTrip(readerPost(t.Context(), t, "text"))
		if err != nil {
			t.Errorf("a call after the kill: %v", err)
			continue
		}
		who, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(who) != addrOf(b) {
			t.Errorf("a call after the kill: %q, %v", who, err)
		}
	}
}

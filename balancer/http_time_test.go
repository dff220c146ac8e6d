package balancer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

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

// Who waits for a connection to an endpoint that leaves goes elsewhere at once.
func TestHTTPLeavesWhileConnecting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNet(t, "10.0.0.1:80", "10.0.0.2:80")
		n.swallow("10.0.0.1:80", true)
		cat := shop(t, resolver.Endpoint{Addr: "10.0.0.1:80"})
		tr := newTransport(t, TransportConfig{Catalog: cat, Plaintext: true, DialContext: n.dial})
		defer func() { _ = tr.Close(t.Context()) }()
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			set(t, cat, resolver.Endpoint{Addr: "10.0.0.2:80"})
		}()
		if who, _, err := send(t, tr, "POST", "text"); err != nil || who != "10.0.0.2:80" {
			t.Errorf("got %q, %v", who, err)
		}
		if took := time.Since(start); took >= 2*time.Second {
			t.Errorf("the call took %v", took)
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

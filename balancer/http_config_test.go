package balancer

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

func TestHTTPErrors(t *testing.T) {
	t.Parallel()
	lost := errors.New("the registry is on holiday")
	t.Run("no endpoints", func(t *testing.T) {
		t.Parallel()
		tr := newTransport(t, TransportConfig{Catalog: shop(t), Plaintext: true})
		_, _, err := get(t, tr)
		if !errors.Is(err, ErrNoEndpoint) || !strings.Contains(err.Error(), `"shop"`) {
			t.Errorf("error is %v, want ErrNoEndpoint with the service", err)
		}
	})
	t.Run("unknown in time", func(t *testing.T) {
		t.Parallel()
		tr := newTransport(t, TransportConfig{Catalog: never{lost}, Plaintext: true, WaitTimeout: 10 * time.Millisecond})
		_, _, err := get(t, tr)
		if !errors.Is(err, ErrNotReady) || !errors.Is(err, lost) {
			t.Errorf("error is %v, want ErrNotReady and the catalog's reason", err)
		}
	})
	t.Run("caller gives up", func(t *testing.T) {
		t.Parallel()
		tr := newTransport(t, TransportConfig{Catalog: never{lost}, Plaintext: true})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://shop/", nil)
		if _, err := tr.RoundTrip(req); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want the context's", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		tr := newTransport(t, TransportConfig{Catalog: shop(t), Plaintext: true})
		for range 2 {
			if err := tr.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := get(t, tr); !errors.Is(err, ErrClosed) {
			t.Errorf("error is %v, want ErrClosed", err)
		}
	})
	t.Run("too many services", func(t *testing.T) {
		t.Parallel()
		tr := newTransport(t, TransportConfig{Catalog: shop(t), Plaintext: true, MaxServices: 1})
		_, _, _ = get(t, tr)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://other/", nil)
		if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "MaxServices") {
			t.Errorf("error is %v, want the limit", err)
		}
	})
}

// never is a catalog that cannot answer.
type never struct{ reason error }

func (n never) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	deliver(&resolver.Snapshot{Service: service, Reason: n.reason})
	<-ctx.Done()
	return ctx.Err()
}

func TestTransportConfigIsChecked(t *testing.T) {
	t.Parallel()
	cat := static.New(static.Config{})
	for name, cfg := range map[string]TransportConfig{
		"Catalog":                 {Plaintext: true},
		"TLS":                     {Catalog: cat},
		"ConnectTimeout":          {Catalog: cat, Plaintext: true, ConnectTimeout: -1},
		"WaitTimeout":             {Catalog: cat, Plaintext: true, WaitTimeout: -1},
		"MaxServices":             {Catalog: cat, Plaintext: true, MaxServices: -1},
		"MaxIdleConnsPerEndpoint": {Catalog: cat, Plaintext: true, MaxIdleConnsPerEndpoint: -1},
		"MaxResponseHeaderBytes":  {Catalog: cat, Plaintext: true, MaxResponseHeaderBytes: -1},
	} {
		if _, err := NewTransport(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a bad %s gives %v, want an error that names it", name, err)
		}
	}
}

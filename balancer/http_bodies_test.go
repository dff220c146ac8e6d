package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

// readerPost is a request as most callers make it: its body can be had again.
func readerPost(ctx context.Context, t *testing.T, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://shop/items", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func echoBody(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

// writes counts what a connection is given.
type writes struct {
	net.Conn
	n *atomic.Int64
}

func (w writes) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

// A body in memory is sent together with the header, as by net/http itself.
func TestHTTPBodyInMemoryIsOneWrite(t *testing.T) {
	t.Parallel()
	s := site(t, true, echoBody)
	var n atomic.Int64
	tr := newTransport(t, TransportConfig{
		Catalog: shop(t, resolver.Endpoint{Addr: addrOf(s)}), Plaintext: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return writes{c, &n}, err
		},
	})
	resp, err := tr.RoundTrip(readerPost(t.Context(), t, "all of it"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || string(got) != "all of it" || n.Load() != 1 {
		t.Errorf("%q, %v in %d writes", got, err, n.Load())
	}
}

// A body that can be had again is had again for the next endpoint, also if net/http
// has closed it; each is closed.
func TestHTTPBodyForAnotherEndpoint(t *testing.T) {
	t.Parallel()
	s := site(t, false, echoBody)
	for _, tt := range []struct {
		name   string
		refuse error // of GetBody; nil: it gives one
	}{
		{"it can be had", nil},
		{"it cannot", errors.New("the file is gone")},
	} {
		tr := newTransport(t, TransportConfig{
			Catalog: shop(t, resolver.Endpoint{ID: resolver.ID{Instance: "a"}, Addr: deadAddr(t)}, resolver.Endpoint{ID: resolver.ID{Instance: "b"}, Addr: addrOf(s)}),
			TLS:     trust(s),
		})
		var open atomic.Int64
		body := func() (io.ReadCloser, error) {
			open.Add(1)
			return &noting{Reader: strings.NewReader("all of it"), open: &open}, nil
		}
		var failed error
		for range 4 { // the round robin comes by both
			req := readerPost(t.Context(), t, "")
			req.ContentLength = 9
			req.Body, _ = body()
			req.GetBody = func() (io.ReadCloser, error) {
				if tt.refuse != nil {
					return nil, tt.refuse
				}
				return body()
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				failed = err
				continue
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || string(got) != "all of it" {
				t.Errorf("%s: %q, %v", tt.name, got, err)
			}
		}
		if !errors.Is(failed, tt.refuse) {
			t.Errorf("%s: %v", tt.name, failed)
		}
		if n := open.Load(); n != 0 {
			t.Errorf("%s: %d bodies are left open", tt.name, n)
		}
		if n := inFlight(tr); n != 0 {
			t.Errorf("%s: %d attempts are under way", tt.name, n)
		}
	}
}

type noting struct {
	io.Reader
	open   *atomic.Int64
	closed atomic.Bool
}

func (n *noting) Close() error {
	if !n.closed.Swap(true) {
		n.open.Add(-1)
	}
	return nil
}

// Without an endpoint nobody else closes the body.
func TestHTTPBodyWithoutEndpoint(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, TransportConfig{Catalog: shop(t), Plaintext: true})
	var open atomic.Int64
	open.Add(1)
	req := readerPost(t.Context(), t, "")
	req.Body, req.ContentLength = &noting{Reader: strings.NewReader("x"), open: &open}, 1
	if _, err := tr.RoundTrip(req); !errors.Is(err, ErrNoEndpoint) || open.Load() != 0 {
		t.Errorf("%v, %d open", err, open.Load())
	}
}

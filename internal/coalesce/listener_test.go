package coalesce

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Only the connections of HTTP/2 collect, and all answers arrive.
func TestServer(t *testing.T) {
	t.Parallel()
	for _, two := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var collects, others, told atomic.Int32
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body) // the client checks it
		}))
		_ = srv.Listener.Close() // the one that it came with
		srv.Listener = Listener(l)
		srv.EnableHTTP2 = two
		srv.Config.ConnState = ConnState(func(c net.Conn, s http.ConnState) {
			told.Add(1)
			if s == http.StateIdle {
				if Of(c.(*tls.Conn)).collecting.Load() {
					collects.Add(1)
				} else {
					others.Add(1)
				}
			}
		})
		srv.StartTLS()
		body := strings.Repeat("0123456789", 100_000)
		for range 3 {
			resp, err := srv.Client().Post(srv.URL, "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != body || (resp.ProtoMajor == 2) != two {
				t.Errorf("%s: %d bytes, %v", resp.Proto, len(got), err)
			}
			_ = resp.Body.Close()
		}
		srv.Close()
		if told.Load() == 0 || two && (others.Load() > 0 || collects.Load() == 0) || !two && collects.Load() > 0 {
			t.Errorf("HTTP/2 %v: %d idle connections collect, %d do not", two, collects.Load(), others.Load())
		}
	}
}

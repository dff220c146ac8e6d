package http1

import (
	"strings"
	"testing"
)

// Whatever a server answers, the caller is told as by net/http, and the connection is
// used again only if nothing about it is in doubt.
func TestResponses(t *testing.T) {
	t.Parallel()
	huge := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<16) + "\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct {
		name, method, raw string
		status            int
		body              string
		again             bool   // over the same connection
		err               string // within it; of the call, or of the body if status is set
		ends              bool   // the server ends the connection after it
	}{
		{name: "length", raw: ok, status: 200, body: "ok", again: true},
		{name: "post", method: "POST", raw: ok, status: 200, body: "ok", again: true},
		{name: "chunked", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", status: 200, body: "ok", again: true},
		{name: "trailer", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n", status: 200, body: "ok", again: true},
		{name: "empty", raw: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, again: true},
		{name: "204", raw: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, again: true},
		{name: "304", raw: "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", status: 304, again: true},
		{name: "head", method: "HEAD", raw: "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", status: 200, again: true},
		{name: "head chunked", method: "HEAD", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", status: 200, again: true},
		{name: "failure", raw: "HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx", status: 503, body: "x", again: true},
		{name: "informational", raw: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok, status: 200, body: "ok", again: true},
		{name: "1.0 that stays", raw: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", again: true},

		{name: "close", raw: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "close without body", raw: "HTTP/1.1 204 No\r\nConnection: close\r\n\r\n", status: 204},
		{name: "1.0", raw: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "to the end", raw: "HTTP/1.1 200 OK\r\n\r\nok", status: 200, body: "ok", ends: true},
		{name: "garbage after it", raw: ok + "HTTP/1.1 200 OK\r\n", status: 200, body: "ok"},
		{name: "another response after it", raw: ok + ok, status: 200, body: "ok"},
		{name: "garbage after 204", raw: "HTTP/1.1 204 No\r\n\r\nx", status: 204},
		{name: "body after head", method: "HEAD", raw: ok, status: 200},
		{name: "garbage after chunks", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", status: 200, body: "ok"},
		{name: "status of nothing", raw: "HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nok", status: 99, body: "ok"},

		{name: "truncated", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", status: 200, body: "ok", err: "unexpected EOF", ends: true},
		{name: "truncated chunk", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", status: 200, body: "ok", err: "unexpected EOF", ends: true},
		{name: "bad chunk", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", status: 200, err: "invalid byte in chunk length"},
		{name: "truncated header", raw: "HTTP/1.1 200 OK\r\nA: b\r\n", err: "transport connection broken: unexpected EOF", ends: true},
		{name: "no answer", err: "EOF", ends: true},
		{name: "nonsense", raw: "SSH-2.0-x\r\n", err: "transport connection broken: malformed HTTP response"},
		{name: "two lengths", raw: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", err: "multiple Content-Length"},
		{name: "unknown coding", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", err: "unsupported transfer encoding"},
		{name: "huge header", raw: huge, err: "headers exceeded 65536 bytes"},
		{name: "endless informational", raw: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 4096), err: "headers exceeded 65536 bytes"},
		{name: "switch", raw: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", err: "switched protocols"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, withTLS bool) {
				s := serve(t, withTLS, func(p *peer) {
					for r := p.request(); r != nil; r = p.request() {
						if tt.method == "POST" && r.ContentLength != 4 {
							t.Errorf("a body of %d bytes arrived", r.ContentLength)
						}
						p.say(tt.raw)
						if tt.ends {
							return
						}
					}
				})
				p := s.pool(nil)
				method, in := "GET", ""
				if tt.method != "" {
					method = tt.method
				}
				if method == "POST" {
					in = "body"
				}
				for range 2 {
					resp, body, err := call(t.Context(), t, p, method, in)
					if tt.err != "" {
						if err == nil || !strings.Contains(err.Error(), tt.err) || (resp == nil) != (tt.status == 0) {
							t.Fatalf("%v, want %q", err, tt.err)
						}
					} else if err != nil {
						t.Fatal(err)
					}
					if body != tt.body {
						t.Errorf("the body is %q", body)
					}
					if resp == nil {
						continue
					}
					if resp.StatusCode != tt.status || (resp.TLS != nil) != withTLS {
						t.Errorf("%v, TLS %v", resp.Status, resp.TLS)
					}
					if tt.name == "trailer" && resp.Trailer.Get("X-T") != "1" {
						t.Errorf("the trailer is %v", resp.Trailer)
					}
				}
				want := int64(2)
				if tt.again {
					want = 1
				}
				if n := s.conns.Load(); n != want {
					t.Errorf("2 calls took %d connections, want %d", n, want)
				}
			})
		})
	}
}

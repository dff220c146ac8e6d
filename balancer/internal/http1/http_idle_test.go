package http1

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// What happens on a connection while nobody uses it decides whether it is used again:
// a POST that is written to one that the server has ended would be lost.
func TestIdle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		then    func(p *peer) // after the first response
		tlsOnly bool
		again   bool
	}{
		{name: "nothing", then: func(*peer) {}, again: true},
		{name: "end", then: func(p *peer) { _ = p.Conn.Close() }},
		{name: "reset", then: func(p *peer) { _ = p.raw.(interface{ SetLinger(int) error }).SetLinger(0); _ = p.raw.Close() }},
		{name: "408", then: func(p *peer) { p.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"); _ = p.Conn.Close() }},
		{name: "a response", then: func(p *peer) { p.say(ok) }},
		{name: "a byte", then: func(p *peer) { p.say("x") }},
		{name: "farewell", then: func(p *peer) { _ = p.Conn.(*tls.Conn).CloseWrite() }, tlsOnly: true},
		{name: "end without farewell", then: func(p *peer) { _ = p.raw.Close() }, tlsOnly: true},
		{name: "half a record", then: func(p *peer) { _, _ = p.raw.Write([]byte{23, 3, 3, 0}) }, tlsOnly: true},
		{name: "a broken record", then: func(p *peer) { _, _ = p.raw.Write([]byte{23, 3, 3, 0, 1, 0}) }, tlsOnly: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, withTLS bool) {
				if tt.tlsOnly && !withTLS {
					return
				}
				done := make(chan struct{}, 2)
				s := serve(t, withTLS, func(p *peer) {
					for p.request() != nil {
						p.say(ok)
						if p.n == 1 {
							tt.then(p)
						}
						done <- struct{}{}
					}
				})
				p := s.pool(nil)
				for range 2 {
					if _, body, err := call(t.Context(), t, p, "POST", "text"); err != nil || body != "ok" {
						t.Fatalf("%q, %v", body, err)
					}
					<-done
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

// Bytes that TLS has read together with the response are seen too, though the socket
// has nothing more to say: a whole record after it, and the beginning of one.
func TestLeftInTLS(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]int{"a record": 0, "the end is to come": 1, "its header only": len(ok) + 16 + 1, "half of its header": len(ok) + 16 + 1 + 3} {
		testLeftInTLS(t, name, cut, 0)
		testLeftInTLS(t, name+", fresh", cut, time.Hour)
	}
}

func testLeftInTLS(t *testing.T, name string, cut int, fresh time.Duration) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		s := serve(t, true, func(p *peer) {
			j := p.Conn.(*tls.Conn).NetConn().(*joined)
			for p.request() != nil {
				if p.n > 1 {
					p.say(ok)
					continue
				}
				j.hold = true
				p.say(ok)
				p.say(ok) // nobody asked
				j.flush(cut)
			}
		})
		p := s.pool(func(c *Config) { c.Fresh = fresh })
		for range 2 {
			resp, body, err := call(t.Context(), t, p, "GET", "")
			if err != nil || body != "ok" {
				t.Fatalf("%v %q, %v", resp, body, err)
			}
		}
		if n := s.conns.Load(); n != 2 {
			t.Errorf("%d connections: the response to nothing became one to a request", n)
		}
	})
}

// The socket of a fresh connection is not asked: its request may come too late.
func TestFresh(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 2)
	s := serve(t, false, func(p *peer) {
		p.request()
		p.say(ok)
		_ = p.Close()
		ended <- struct{}{}
	})
	p := s.pool(func(c *Config) { c.Fresh = time.Hour })
	if _, _, err := call(t.Context(), t, p, "POST", "text"); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, _, err := call(t.Context(), t, p, "POST", "text"); err == nil || s.conns.Load() != 1 {
		t.Errorf("%v, %d connections", err, s.conns.Load())
	}
}

// A connection that the server has ended together with its response is not kept, nor one
// whose abort may still come.
func TestNotKept(t *testing.T) {
	t.Parallel()
	// TLS 1.2 tells of an end that it has read together with the last bytes.
	old := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MaxVersion: tls.VersionTLS12}
	s := serve(t, true, func(p *peer) {
		j := &joined{Conn: p.raw}
		tc := tls.Server(j, old)
		p.Conn, p.br = tc, bufio.NewReader(tc)
		for r := p.request(); r != nil; r = p.request() {
			if r.Method == "POST" {
				p.say(ok)
				continue
			}
			j.hold = true
			p.say(ok)
			_ = tc.CloseWrite()
			_ = p.raw.SetWriteDeadline(time.Time{}) // CloseWrite leaves one
			j.flush(0)
		}
	})
	p := s.pool(nil)
	if _, body, err := call(t.Context(), t, p, "GET", ""); err != nil || body != "ok" || len(p.idle) != 0 {
		t.Errorf("%q, %v, %d are kept", body, err, len(p.idle))
	}
	var x Exchange
	resp, err := p.RoundTrip(&x, request(t.Context(), t, "POST", "text"))
	if err != nil {
		t.Fatal(err)
	}
	stop := x.stop
	x.stop = func() bool { stop(); return false }
	if _, err := io.ReadAll(resp.Body); err != nil || len(p.idle) != 0 {
		t.Errorf("%v, %d are kept", err, len(p.idle))
	}
}

// A connection that was used before and ends before an answer may have been ended just
// before the request came: http.Transport sends what may be sent twice again.
func TestEndsBeforeAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, key string
		fresh       bool
		elsewhere   bool
	}{
		{method: "GET", elsewhere: true},
		{method: "HEAD", elsewhere: true},
		{method: "OPTIONS", elsewhere: true},
		{method: "POST", key: "Idempotency-Key", elsewhere: true},
		{method: "PUT", key: "X-Idempotency-Key", elsewhere: true},
		{method: "POST"},
		{method: "PUT"},
		{method: "DELETE"},
		{method: "GET", fresh: true},
	} {
		t.Run(strings.TrimSpace(tt.method+" "+tt.key), func(t *testing.T) {
			both(t, func(t *testing.T, withTLS bool) {
				s := serve(t, withTLS, func(p *peer) {
					if p.request(); !tt.fresh {
						p.say(ok)
						p.request()
					}
				})
				p := s.pool(nil)
				if !tt.fresh {
					if _, _, err := call(t.Context(), t, p, "GET", ""); err != nil {
						t.Fatal(err)
					}
				}
				req := request(t.Context(), t, tt.method, "")
				if tt.key != "" {
					req.Header.Set(tt.key, "1")
				}
				_, err := p.RoundTrip(new(Exchange), req)
				if errors.Is(err, ErrElsewhere) != tt.elsewhere || !tt.elsewhere && !errors.Is(err, io.EOF) {
					t.Errorf("%v", err)
				}
				if n := s.conns.Load(); n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}
}

// What was not written at all may be sent again whatever it is.
func TestNothingWritten(t *testing.T) {
	t.Parallel()
	s := serve(t, true, well)
	p := s.pool(nil)
	unwritable := func() error {
		req := request(t.Context(), t, "POST", "text")
		req.URL.RawQuery = "\x01"
		_, err := p.RoundTrip(new(Exchange), req)
		return err
	}
	if err := unwritable(); err == nil || !strings.Contains(err.Error(), "control character") {
		t.Errorf("over a new connection: %v", err)
	}
	if _, _, err := call(t.Context(), t, p, "GET", ""); err != nil {
		t.Fatal(err)
	}
	if err := unwritable(); !errors.Is(err, ErrElsewhere) {
		t.Errorf("over a used one: %v", err)
	}
}

// A server that refuses without reading is heard, since a request that is Eligible is
// written without its help.
func TestAnswerBeforeRequest(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, withTLS bool) {
		read := make(chan struct{})
		s := serve(t, withTLS, func(p *peer) {
			if tc, ok := p.Conn.(*tls.Conn); ok {
				_ = tc.HandshakeContext(t.Context())
			}
			p.say("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			<-read
			p.gone()
		})
		p := s.pool(nil)
		resp, _, err := call(t.Context(), t, p, "POST", strings.Repeat("x", maxBody))
		close(read)
		if err != nil || resp.StatusCode != 413 {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

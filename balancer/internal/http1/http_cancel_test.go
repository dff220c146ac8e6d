package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A call whose context ends gives the context's cause, at once, and its connection goes
// with it: nobody knows what else the server will say on it.
func TestCancel(t *testing.T) {
	t.Parallel()
	mine := errors.New("I have changed my mind")
	for _, name := range []string{"before", "waiting for the header", "reading the body", "not reading the body"} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, withTLS bool) {
				ctx, cancel := context.WithCancelCause(t.Context())
				gone := make(chan struct{})
				s := serve(t, withTLS, func(p *peer) {
					if p.n == 2 {
						well(p)
						return
					}
					defer close(gone)
					p.request()
					if name == "waiting for the header" {
						cancel(mine)
					} else {
						p.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
					}
					p.gone()
				})
				p := s.pool(nil)
				if name == "before" {
					cancel(mine)
				}
				resp, err := p.RoundTrip(new(Exchange), request(ctx, t, "GET", ""))
				switch name {
				case "reading the body":
					_, _ = io.ReadFull(resp.Body, make([]byte, 2))
					cancel(mine)
					_, err = resp.Body.Read(make([]byte, 1))
				case "not reading the body":
					cancel(mine)
					<-gone // nobody reads, and yet the server hears of it
					_, err = io.ReadAll(resp.Body)
				}
				if !errors.Is(err, mine) {
					t.Errorf("%v", err)
				}
				if name == "before" {
					if s.conns.Load() != 0 {
						t.Error("it was sent")
					}
					return
				}
				if resp != nil {
					if _, again := resp.Body.Read(make([]byte, 1)); !errors.Is(again, mine) {
						t.Errorf("and then %v", again)
					}
					_ = resp.Body.Close()
				}
				<-gone
				if _, body, err := call(t.Context(), t, p, "GET", ""); err != nil || body != "ok" || s.conns.Load() != 2 {
					t.Errorf("the next call: %q, %v, %d connections", body, err, s.conns.Load())
				}
			})
		})
	}
}

// The context of a response that was read to its end may end when it likes.
func TestCancelTooLate(t *testing.T) {
	t.Parallel()
	s := serve(t, true, well)
	p := s.pool(nil)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		_, _, err := call(ctx, t, p, "POST", "text")
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Calls that are cancelled at any time leave nothing behind that another call reads.
func TestCancelAnyTime(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, withTLS bool) {
		s := serve(t, withTLS, func(p *peer) {
			for r := p.request(); r != nil; r = p.request() {
				b, _ := io.ReadAll(r.Body)
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + string(b))
			}
		})
		p := s.pool(nil)
		var wg sync.WaitGroup
		for k := range 8 {
			wg.Go(func() {
				want := string(rune('a' + k))
				for i := range 30 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
					if i%4 == 0 {
						cancel()
						ctx, cancel = context.WithCancel(t.Context())
					}
					_, body, err := call(ctx, t, p, "POST", want)
					if err == nil && body != want {
						t.Errorf("the answer to %q is %q", want, body)
					}
					if err != nil && (i%4 == 0 || !errors.Is(err, context.DeadlineExceeded)) {
						t.Errorf("call %d: %v", i, err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
	})
}

// Close before the end breaks the connection, also while another goroutine reads.
func TestCloseEarly(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, withTLS bool) {
		for _, reading := range []bool{false, true} {
			gone := make(chan struct{})
			s := serve(t, withTLS, func(p *peer) {
				defer close(gone)
				p.request()
				p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
				p.gone()
			})
			p := s.pool(nil)
			resp, err := p.RoundTrip(new(Exchange), request(t.Context(), t, "GET", ""))
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			if reading {
				_, _ = io.ReadFull(resp.Body, make([]byte, 2))
				wg.Go(func() {
					if n, err := resp.Body.Read(make([]byte, 8)); n > 0 || err == nil || err == io.EOF {
						t.Errorf("the read came to %d, %v", n, err)
					}
				})
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
			<-gone
			wg.Wait()
			if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("a read after Close gives %v", err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Two that read to the end, and one that closes, give the connection back once.
func TestEndOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, false, well)
	p := s.pool(func(c *Config) { c.MaxIdle = 100 })
	for range 200 {
		resp, err := p.RoundTrip(new(Exchange), request(t.Context(), t, "GET", ""))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
		}
		wg.Go(func() { _ = resp.Body.Close() })
		wg.Wait()
		if n := len(p.idle); n > 1 {
			t.Fatalf("%d connections are idle", n)
		}
	}
}

// A dial serves the next call if its own has gone.
func TestCancelDial(t *testing.T) {
	t.Parallel()
	s := serve(t, true, well)
	goOn := make(chan struct{})
	p := s.pool(func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context) (net.Conn, *Wire, error) {
			<-goOn
			return dial(ctx)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := call(ctx, t, p, "GET", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	close(goOn)
	for { // until the connection is there
		p.mu.Lock()
		n := len(p.idle)
		p.mu.Unlock()
		if n == 1 {
			break
		}
	}
	if _, _, err := call(t.Context(), t, p, "POST", "text"); err != nil || s.conns.Load() != 1 {
		t.Errorf("%v, %d connections", err, s.conns.Load())
	}
}

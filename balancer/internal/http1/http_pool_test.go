package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"
)

// held makes n calls at a time, whose bodies are not read yet.
func held(t *testing.T, p *Pool, n int) []*http.Response {
	t.Helper()
	var all []*http.Response
	for range n {
		resp, err := p.RoundTrip(new(Exchange), request(t.Context(), t, "GET", ""))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, resp)
	}
	return all
}

func finish(all []*http.Response) {
	for _, resp := range all {
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}

// No more than MaxIdle connections are kept, and none longer than IdleTimeout. The one
// used last is the first to be used again.
func TestIdleBounds(t *testing.T) {
	t.Parallel()
	ended := make(chan int, 10)
	s := serve(t, true, func(p *peer) { well(p); ended <- p.n })
	p := s.pool(func(c *Config) { c.MaxIdle = 2 })
	finish(held(t, p, 3))
	if n := <-ended; n != 3 || len(p.idle) != 2 {
		t.Errorf("connection %d was closed, %d are idle", n, len(p.idle))
	}
	if _, _, err := call(t.Context(), t, p, "GET", ""); err != nil || p.idle[0].since.After(p.idle[1].since) {
		t.Errorf("%v, or the order is lost", err)
	}

	p = s.pool(func(c *Config) { c.IdleTimeout = 20 * time.Millisecond })
	for range 3 {
		s.conns.Store(0)
		finish(held(t, p, 2))
		if a, b := <-ended, <-ended; a+b != 3 {
			t.Errorf("connections %d and %d were closed", a, b)
		}
	}
}

// A call that waits for its dial takes a connection that becomes idle before that.
func TestTakesWhatComesFirst(t *testing.T) {
	t.Parallel()
	s := serve(t, true, well)
	first, blocked := true, make(chan struct{})
	p := s.pool(func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context) (net.Conn, *Wire, error) {
			if !first {
				<-blocked
				return nil, nil, errors.New("refused")
			}
			first = false
			return dial(ctx)
		}
	})
	busy := held(t, p, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := call(t.Context(), t, p, "POST", "text"); err != nil {
			t.Error(err)
		}
	})
	for waiting := 0; waiting == 0; runtime.Gosched() {
		p.mu.Lock()
		waiting = len(p.wants)
		p.mu.Unlock()
	}
	finish(busy)
	wg.Wait()
	// The dial that nobody waits for any more fails alone.
	close(blocked)
	if _, _, err := call(t.Context(), t, p, "POST", "text"); err != nil {
		t.Error(err)
	}
}

// CloseIdle closes what is in use too, once it is not, unless there was a call since.
func TestCloseIdle(t *testing.T) {
	t.Parallel()
	ended := make(chan int, 10)
	s := serve(t, false, func(p *peer) { well(p); ended <- p.n })
	p := s.pool(nil)
	busy := held(t, p, 2)
	finish(busy[1:])
	p.CloseIdle()
	if n := <-ended; n != 2 {
		t.Errorf("connection %d was closed", n)
	}
	finish(busy[:1])
	if n := <-ended; n != 1 {
		t.Errorf("connection %d was closed", n)
	}
	finish(held(t, p, 1))
	if len(p.idle) != 1 {
		t.Error("the next call's connection is not kept")
	}
	busy = held(t, p, 2)
	p.Close()
	finish(busy)
	<-ended
	<-ended
	p.cfg.Go = func(func()) bool { return false }
	if _, _, err := call(t.Context(), t, p, "GET", ""); !errors.Is(err, ErrElsewhere) {
		t.Errorf("a call after Close: %v", err)
	}
}

// A dial's error is its caller's.
func TestDialFails(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	p := NewPool(Config{
		Dial: func(context.Context) (net.Conn, *Wire, error) { return nil, nil, refused },
		Go:   func(f func()) bool { f(); return true },
	})
	if _, _, err := call(t.Context(), t, p, "GET", ""); !errors.Is(err, refused) || len(p.wants) > 0 {
		t.Errorf("%v, %d wait", err, len(p.wants))
	}
}

// What is more than a socket may hide bytes from a look at the socket.
func TestWireIsASocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if NewWire(c, false) == nil || !Plain(c) {
		t.Error("a TCP connection is none")
	}
	more := struct{ *net.TCPConn }{c.(*net.TCPConn)}
	if NewWire(more, false) != nil || Plain(more) {
		t.Error("a connection with something around it is one")
	}
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if NewWire(a, false) != nil || Plain(a) {
		t.Error("a pipe is one")
	}
}

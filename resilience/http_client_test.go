package resilience

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// web is a client of a handler on a loopback server, with retries between.
func web(t testing.TB, h http.HandlerFunc, loop LoopConfig, cfg HTTPClientConfig) (*http.Client, string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	l := eager(t, loop)
	cfg.LoopFor = func(string) *Loop { return l }
	next := &http.Transport{}
	t.Cleanup(next.CloseIdleConnections)
	c, err := NewHTTPClient(next, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: c}, srv.URL
}

// reader hides what http.NewRequest would see of a body.
type reader struct{ io.Reader }

func TestHTTPRetries(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", DefaultHTTPReplayLimit+1)
	tests := []struct {
		name   string
		method string
		body   io.Reader
		length int64 // of a body that does not tell its own
		key    string
		status int
		header string // "name: value" of a failure
		times  int
		want   int
		calls  int
	}{
		{name: "cured", method: "GET", status: 503, times: 2, want: 200, calls: 3},
		{name: "not cured", method: "GET", status: 503, times: 9, want: 503, calls: 3},
		{name: "put with GetBody", method: "PUT", body: strings.NewReader("hello"), status: 503, times: 1, want: 200, calls: 2},
		{name: "put within the limit", method: "PUT", body: reader{strings.NewReader("hello")}, length: 5, status: 503, times: 1, want: 200, calls: 2},
		{name: "put beyond the limit", method: "PUT", body: reader{strings.NewReader(large)}, length: int64(len(large)), status: 503, times: 1, want: 503, calls: 1},
		{name: "put of unknown length", method: "PUT", body: reader{strings.NewReader("hello")}, status: 503, times: 1, want: 503, calls: 1},
		{name: "post", method: "POST", body: strings.NewReader("hello"), status: 503, times: 1, want: 503, calls: 1},
		{name: "post with a key", method: "POST", body: strings.NewReader("hello"), key: "k1", status: 503, times: 1, want: 200, calls: 2},
		{name: "internal", method: "GET", status: 500, times: 1, want: 500, calls: 1},
		{name: "not found", method: "GET", status: 404, times: 1, want: 404, calls: 1},
		{name: "throttled", method: "GET", status: 429, times: 1, want: 429, calls: 1},
		{name: "told to wait too long", method: "GET", status: 503, header: "Retry-After: 3600", times: 1, want: 503, calls: 1},
		{name: "retried below", method: "GET", status: 503, header: "Weft-Retried: 1", times: 1, want: 503, calls: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			c, url := web(t, func(w http.ResponseWriter, req *http.Request) {
				n := int(calls.Add(1))
				got, err := io.ReadAll(req.Body)
				if err != nil || tt.body != nil && len(got) < 5 {
					t.Errorf("attempt %d has body %q, %v", n, got, err)
				}
				want := fmt.Sprint(n)
				if n == 1 {
					want = ""
				}
				if a := req.Header.Get(AttemptKey); a != want {
					t.Errorf("attempt %d has number %q", n, a)
				}
				if d, ok := ParseTimeout(req.Header.Get(TimeoutKey)); !ok || d > DefaultTimeout {
					t.Errorf("attempt %d has %s %q", n, TimeoutKey, req.Header.Get(TimeoutKey))
				}
				if n <= tt.times {
					if name, value, ok := strings.Cut(tt.header, ": "); ok {
						w.Header().Set(name, value)
					}
					w.WriteHeader(tt.status)
					_, _ = w.Write([]byte("failed"))
					return
				}
				_, _ = w.Write([]byte("fine"))
			}, LoopConfig{}, HTTPClientConfig{})
			req, err := http.NewRequestWithContext(t.Context(), tt.method, url+"/items/7", tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if tt.length > 0 {
				req.ContentLength = tt.length
			}
			if tt.key != "" {
				req.Header.Set(IdempotencyKey, tt.key)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			want := "fine"
			if tt.want != 200 {
				want = "failed"
			}
			if err != nil || resp.StatusCode != tt.want || string(data) != want || int(calls.Load()) != tt.calls {
				t.Errorf("status %d, body %q, %v after %d calls; want %d after %d", resp.StatusCode, data, err, calls.Load(), tt.want, tt.calls)
			}
			if req.Header.Get(TimeoutKey) != "" || req.Header.Get(AttemptKey) != "" {
				t.Error("the caller's request was changed")
			}
		})
	}
}

// trip is a transport that is a function.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// countBody counts how often it is closed.
type countBody struct {
	io.Reader
	closed atomic.Int64
}

func (b *countBody) Close() error { b.closed.Add(1); return nil }

func client(t testing.TB, next trip, loop LoopConfig, cfg HTTPClientConfig) *HTTPClient {
	t.Helper()
	l := eager(t, loop)
	cfg.LoopFor = func(string) *Loop { return l }
	c, err := NewHTTPClient(next, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func request(t testing.TB, ctx context.Context, method string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://pay/x", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func answer(status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: body, ContentLength: -1}
}

// A body that nobody has read is still there for the next attempt, whatever the
// method; one that was read is not sent again. In the end each is closed once.
func TestHTTPBodyOnce(t *testing.T) {
	t.Parallel()
	for _, touched := range []bool{false, true} {
		body := &countBody{Reader: strings.NewReader("hello")}
		n := 0
		c := client(t, func(req *http.Request) (*http.Response, error) {
			n++
			defer req.Body.Close()
			if n == 1 && !touched {
				return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
			}
			data, err := io.ReadAll(req.Body)
			if err != nil || string(data) != "hello" {
				t.Errorf("attempt %d read %q, %v", n, data, err)
			}
			if n == 1 {
				return nil, fmt.Errorf("lost: %w", ErrUnsent) // says so, but has read it
			}
			return answer(200, http.NoBody), nil
		}, LoopConfig{}, HTTPClientConfig{})
		resp, err := c.RoundTrip(request(t, t.Context(), "POST", body))
		if want := map[bool]int{false: 2, true: 1}[touched]; n != want || (err == nil) == touched {
			t.Errorf("touched %v: %d attempts, %v, %v", touched, n, resp, err)
		}
		if body.closed.Load() != 1 {
			t.Errorf("touched %v: the body was closed %d times", touched, body.closed.Load())
		}
	}
}

func TestHTTPResponsesAreClosed(t *testing.T) {
	t.Parallel()
	var bodies []*countBody
	c := client(t, func(*http.Request) (*http.Response, error) {
		b := &countBody{Reader: bytes.NewReader(make([]byte, 100))}
		bodies = append(bodies, b)
		return answer(503, b), nil
	}, LoopConfig{}, HTTPClientConfig{})
	resp, err := c.RoundTrip(request(t, t.Context(), "GET", nil))
	if err != nil || len(bodies) != 3 || bodies[0].closed.Load() != 1 || bodies[1].closed.Load() != 1 || bodies[2].closed.Load() != 0 {
		t.Fatalf("%v, %v, %d bodies", resp, err, len(bodies))
	}
	_ = resp.Body.Close()
	if bodies[2].closed.Load() != 1 {
		t.Error("the last body is not the caller's to close")
	}
}

// The context of the attempt lives until the body is closed, and no longer.
func TestHTTPContextLivesWithTheBody(t *testing.T) {
	t.Parallel()
	var actx context.Context
	var got []Result
	c := client(t, func(req *http.Request) (*http.Response, error) {
		actx = req.Context()
		return answer(200, &countBody{Reader: strings.NewReader("hello")}), nil
	}, LoopConfig{Retry: Retry{AttemptTimeout: time.Minute}}, HTTPClientConfig{Report: func(_ context.Context, in *Info, r Result) { got = append(got, r) }})
	resp, err := c.RoundTrip(request(t, t.Context(), "GET", nil))
	if err != nil || actx.Err() != nil || len(got) != 0 {
		t.Fatalf("%v, context %v, reported %v", err, actx.Err(), got)
	}
	_ = resp.Body.Close()
	_ = resp.Body.Close()
	if actx.Err() == nil || len(got) != 1 || got[0].Outcome.Class != Success {
		t.Errorf("after Close: context %v, reported %v", actx.Err(), got)
	}
	resp, _ = c.RoundTrip(request(t, t.Context(), "GET", nil))
	resp.Body = io.NopCloser(resp.Body)
	if _, err := io.ReadAll(resp.Body); err != nil || actx.Err() == nil || len(got) != 2 {
		t.Errorf("after the end of the body: %v, context %v, %d reports", err, actx.Err(), len(got))
	}
}

func TestHTTPCancelDuringWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b := &countBody{Reader: strings.NewReader("wait")}
		l := newLoop(t, LoopConfig{Retry: Retry{Backoff: Backoff{Base: time.Hour, Cap: time.Hour}}, Timeout: NoTimeout})
		c, err := NewHTTPClient(trip(func(*http.Request) (*http.Response, error) {
			time.AfterFunc(time.Nanosecond, cancel) // after this attempt: the clock stands still in it
			return answer(503, b), nil
		}), HTTPClientConfig{LoopFor: fixed(l)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.RoundTrip(request(t, ctx, "GET", nil)); !errors.Is(err, context.Canceled) || b.closed.Load() != 1 {
			t.Errorf("%v, closed %d times", err, b.closed.Load())
		}
	})
}

// Losers of a hedge are cancelled and what they brought is closed.
func TestHTTPHedges(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var bodies []*countBody
	var lost atomic.Int64
	loop := LoopConfig{Timeout: NoTimeout, Hedge: Hedge{Enabled: true, Delay: time.Millisecond}, Budget: newBudget(t, BudgetConfig{Ratio: 1, HedgeRatio: 1, Reserve: 1e6})}
	c := client(t, func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			if data, _ := io.ReadAll(req.Body); string(data) != "hello" {
				t.Errorf("body %q", data)
			}
			req.Body.Close()
		}
		if req.Header.Get(AttemptKey) == "" {
			<-req.Context().Done()
			if errors.Is(context.Cause(req.Context()), ErrHedgeLost) {
				lost.Add(1)
			}
		}
		b := &countBody{Reader: strings.NewReader("fine")}
		mu.Lock()
		bodies = append(bodies, b)
		mu.Unlock()
		return answer(200, b), nil // late, but it came
	}, loop, HTTPClientConfig{})
	for range 10 {
		resp, err := c.RoundTrip(request(t, t.Context(), "PUT", strings.NewReader("hello")))
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(resp.Body); err != nil || string(data) != "fine" {
			t.Errorf("%q, %v", data, err)
		}
		_ = resp.Body.Close()
	}
	if lost.Load() != 10 || len(bodies) != 20 {
		t.Errorf("%d losers of 10, %d bodies of 20", lost.Load(), len(bodies))
	}
	for _, b := range bodies {
		if b.closed.Load() != 1 {
			t.Errorf("a body was closed %d times", b.closed.Load())
		}
	}
}

// A body without GetBody is never read by two attempts at a time.
func TestHTTPHedgeNeedsABody(t *testing.T) {
	t.Parallel()
	n := 0
	c := client(t, func(req *http.Request) (*http.Response, error) {
		n++
		_, _ = io.Copy(io.Discard, req.Body)
		return answer(200, http.NoBody), nil
	}, LoopConfig{Hedge: Hedge{Enabled: true, Delay: time.Nanosecond}}, HTTPClientConfig{})
	if _, err := c.RoundTrip(request(t, t.Context(), "PUT", reader{strings.NewReader("hello")})); err != nil || n != 1 {
		t.Errorf("%v, %d attempts", err, n)
	}
}

func TestHTTPUpgradeKeepsItsWriter(t *testing.T) {
	t.Parallel()
	type conn struct {
		*countBody
		io.Writer
	}
	var out bytes.Buffer
	b := &countBody{Reader: strings.NewReader("")}
	ended := 0
	c := client(t, func(*http.Request) (*http.Response, error) { return answer(101, conn{b, &out}), nil }, LoopConfig{},
		HTTPClientConfig{Report: func(context.Context, *Info, Result) { ended++ }})
	resp, err := c.RoundTrip(request(t, t.Context(), "GET", nil))
	if err != nil {
		t.Fatal(err)
	}
	w, ok := resp.Body.(io.Writer)
	if !ok {
		t.Fatal("the body of a switched connection cannot be written to")
	}
	_, _ = resp.Body.Read(make([]byte, 1)) // EOF: the peer has said all
	if _, err := w.Write([]byte("bye")); err != nil || out.String() != "bye" || ended != 0 {
		t.Errorf("%v, %q, %d ends", err, out.String(), ended)
	}
	_ = resp.Body.Close()
	if ended != 1 || b.closed.Load() != 1 {
		t.Errorf("%d ends, closed %d times", ended, b.closed.Load())
	}
}

func TestHTTPLoopsOfHosts(t *testing.T) {
	t.Parallel()
	c, err := NewHTTPClient(nil, HTTPClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if a := c.own("a"); a != c.own("a") || a == c.own("b") {
		t.Error("a host must have one Loop, and its own")
	}
	for i := range maxBudgets {
		c.own(fmt.Sprint(i))
	}
	if c.own("one more") != c.own("yet another") || len(c.loops) > maxBudgets+1 {
		t.Errorf("%d loops", len(c.loops))
	}
	if _, err := NewHTTPClient(nil, HTTPClientConfig{ReplayLimit: -1}); err == nil || !strings.Contains(err.Error(), "HTTPClientConfig.ReplayLimit") {
		t.Errorf("error %v", err)
	}
}

func TestHTTPIdempotent(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{"": true, "GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true, "POST": false, "PATCH": false, "CONNECT": false, "get": false} {
		if got := HTTPIdempotent(&http.Request{Method: method, Header: http.Header{}}); got != want {
			t.Errorf("%q is idempotent: %v", method, got)
		}
	}
}

func TestHTTPAllocs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resp := answer(200, http.NoBody)
	c := client(t, func(*http.Request) (*http.Response, error) { return resp, nil }, LoopConfig{}, HTTPClientConfig{HideTimeout: true})
	req := request(t, ctx, "GET", nil)
	if n := testing.AllocsPerRun(100, func() { _, _ = c.RoundTrip(req) }); n > 2 {
		t.Errorf("%v allocations for a request that is not repeated, at most 2", n)
	}
	c.cfg.HideTimeout = false
	if n := testing.AllocsPerRun(100, func() { _, _ = c.RoundTrip(req) }); n > 5 {
		t.Errorf("%v allocations with the header weft-timeout, at most 5", n)
	}
}

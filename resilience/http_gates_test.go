package resilience

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// shop is a real server behind gates.
func shop(t testing.TB, h http.HandlerFunc, cfg HTTPServerConfig) string {
	t.Helper()
	srv := httptest.NewServer(NewHTTPServerGates(h, cfg))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestHTTPGatesBothSides(t *testing.T) {
	t.Parallel()
	server, inner := newEnds(), newEnds()
	addr := shop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, "hi")
	}, HTTPServerConfig{Service: "shop", Gates: []Gate{server}})
	client := &http.Client{Transport: NewHTTPClientGates(nil, inner)}
	defer client.CloseIdleConnections()
	for path, want := range map[string]Class{"/items/7": Success, "/fail": Retryable} {
		req := request(t, t.Context(), "GET", nil)
		req.URL.Host, req.URL.Path, req.Host = strings.TrimPrefix(addr, "http://"), path, ""
		req.URL.Scheme = "http"
		req.Header.Set(PriorityKey, "critical_plus")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/items/7" && len(inner.outs) != 0 {
			t.Error("the request ended before its body")
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		for name, e := range map[string]*ends{"server": server, "client": inner} {
			in, o := <-e.in, <-e.outs
			if in.Method != "GET" || in.Path != path || in.Priority != CriticalPlus || !in.Idempotent || in.Stream || o.Class != want {
				t.Errorf("%s: %+v, %+v", name, in, o)
			}
		}
		if len(inner.outs) != 0 {
			t.Error("ended twice")
		}
	}
}

// unread fails the test if anyone reads it.
type unread struct {
	t      *testing.T
	closed bool
}

func (b *unread) Read([]byte) (int, error) { b.t.Error("the body was read"); return 0, io.EOF }
func (b *unread) Close() error             { b.closed = true; return nil }

func TestHTTPRefusals(t *testing.T) {
	t.Parallel()
	in := &Info{Service: "shop"}
	for name, tt := range map[string]struct {
		err    error
		status int
		after  string
	}{
		"open":           {refuse(ErrOpen, in, 90*time.Second), 503, "90"},
		"concurrency":    {refuse(ErrConcurrency, in, 0), 503, "1"},
		"rate":           {refuse(ErrRate, in, 1100*time.Millisecond), 429, "2"},
		"fault's status": {&Refused{Reason: ErrFault, Status: 418}, 418, ""},
		"fault's code":   {&Refused{Reason: ErrFault, Code: 13}, 500, ""},
		"deadline":       {context.DeadlineExceeded, 504, ""},
		"other":          {errors.New("x"), 503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			no := newEnds()
			no.err = tt.err
			h := NewHTTPServerGates(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") }), HTTPServerConfig{Gates: []Gate{no}})
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("POST", "/", &unread{t: t}))
			resp := rec.Result()
			if resp.StatusCode != tt.status || resp.Header.Get("Retry-After") != tt.after {
				t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
			if o := FromHTTP(resp, nil, false); tt.after != "" && (o.Class != Throttled || !o.Unsent || o.RetryAfter <= 0) {
				t.Errorf("the client sees %+v", o)
			}
			body := &unread{t: t}
			req := httptest.NewRequest("POST", "http://shop/", body)
			resp, err := NewHTTPClientGates(trip(func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, nil }), no).RoundTrip(req)
			if resp != nil || !errors.Is(err, tt.err) || !errors.Is(err, ErrUnsent) || !body.closed {
				t.Errorf("client: %v", err)
			}
		})
	}
}

func TestHTTPPanics(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	l := newTestLimit(t, ConcurrencyConfig{Limit: 1, Shares: [Priorities]float64{1, 1, 1, 1}})
	addr := shop(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/ok":
			return
		}
		panic("secret")
	}, HTTPServerConfig{Gates: []Gate{l}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	get := func(path string) (int, error) {
		resp, err := (&http.Client{Transport: tr}).Get(addr + path)
		if err != nil {
			return 0, err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if strings.Contains(string(body), "secret") {
			t.Errorf("%s tells %q", path, body)
		}
		return resp.StatusCode, err
	}
	if code, err := get("/"); code != 500 || err != nil {
		t.Error(code, err)
	}
	if _, err := get("/late"); err == nil {
		t.Error("a reply that broke off looks whole")
	}
	if _, err := get("/abort"); err == nil {
		t.Error("an aborted reply looks whole")
	}
	if code, err := get("/ok"); code != 200 || err != nil || l.InFlight() != 0 {
		t.Error(code, err, l.InFlight())
	}
	if got := log.String(); strings.Count(got, "panic.recovered") != 2 || !strings.Contains(got, "http_gates_test.go") {
		t.Error(got)
	}
}

func TestHTTPGatesEndOnce(t *testing.T) {
	t.Parallel()
	broken := errors.New("reset")
	for name, tt := range map[string]struct {
		next trip
		want Class
	}{
		"no answer":         {func(*http.Request) (*http.Response, error) { return nil, broken }, Retryable},
		"cancelled":         {func(*http.Request) (*http.Response, error) { return nil, context.Canceled }, Neutral},
		"an inner gate":     {func(*http.Request) (*http.Response, error) { return nil, &httpRefused{refuse(ErrOpen, &Info{}, 0)} }, Neutral},
		"no body":           {func(*http.Request) (*http.Response, error) { return answer(200, http.NoBody), nil }, Success},
		"a body that broke": {func(*http.Request) (*http.Response, error) { return answer(200, io.NopCloser(&failing{broken})), nil }, Retryable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnds()
			resp, err := NewHTTPClientGates(tt.next, e).RoundTrip(httptest.NewRequest("GET", "http://shop/", nil))
			if err == nil {
				_, _ = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if o := <-e.outs; o.Class != tt.want || len(e.outs) != 0 {
				t.Errorf("%+v, and %d more", o, len(e.outs))
			}
		})
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

package resilience

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

func gate(t testing.TB, cfg DeadlineConfig) *DeadlineGate {
	t.Helper()
	g, err := NewDeadlineGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestHTTPInbound(t *testing.T) {
	t.Parallel()
	failBelow := func(ctx context.Context) { InboundFrom(ctx).retried.Store(true) }
	tests := []struct {
		name     string
		cfg      InboundConfig
		attempt  []string
		timeout  []string
		below    func(context.Context)
		answer   int
		want     int
		seen     int // attempt; 0: the handler is not called
		deadline bool
		wantMark bool
	}{
		{name: "bare", answer: 200, want: 200, seen: 1},
		{name: "deadline", timeout: []string{"5S"}, answer: 200, want: 200, seen: 1, deadline: true},
		{name: "bad deadline", timeout: []string{"5"}, answer: 200, want: 200, seen: 1},
		{name: "two deadlines", timeout: []string{"5S", "1n"}, answer: 200, want: 200, seen: 1},
		{name: "passed", cfg: InboundConfig{Deadline: gate(t, DeadlineConfig{})}, timeout: []string{"1n"}, want: 504, wantMark: true},
		{name: "too short", cfg: InboundConfig{Deadline: gate(t, DeadlineConfig{Min: time.Minute})}, timeout: []string{"5S"}, want: 504, wantMark: true},
		{name: "attempt", attempt: []string{"3"}, answer: 200, want: 200, seen: 3},
		{name: "bad attempt", attempt: []string{"3x"}, answer: 200, want: 200, seen: 1},
		{name: "untrusted", cfg: InboundConfig{Untrusted: true}, attempt: []string{"3"}, timeout: []string{"5S"}, answer: 200, want: 200, seen: 1},
		{name: "retried below", below: failBelow, answer: 503, want: 503, seen: 1, wantMark: true},
		{name: "retried below, answered all the same", below: failBelow, answer: 200, want: 200, seen: 1},
		{name: "failed by itself", answer: 503, want: 503, seen: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seen := 0
			h := NewHTTPInbound(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				seen = InboundFrom(req.Context()).Attempt
				if _, has := req.Context().Deadline(); has != tt.deadline {
					t.Errorf("the handler has a deadline: %v", has)
				}
				if tt.below != nil {
					tt.below(req.Context())
				}
				w.WriteHeader(tt.answer)
				w.(http.Flusher).Flush()
			}), tt.cfg)
			req := httptest.NewRequest("GET", "/x", nil)
			for _, v := range tt.attempt {
				req.Header.Add(AttemptKey, v)
			}
			for _, v := range tt.timeout {
				req.Header.Add(TimeoutKey, v)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if mark := w.Header().Get(RetriedKey) != ""; w.Code != tt.want || seen != tt.seen || mark != tt.wantMark {
				t.Errorf("status %d, attempt %d, mark %v; want %d, %d, %v", w.Code, seen, mark, tt.want, tt.seen, tt.wantMark)
			}
		})
	}
}

func TestHTTPInboundHijack(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(NewHTTPInbound(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmine")
		_ = conn.Close()
	}), InboundConfig{}))
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, err := io.ReadAll(resp.Body); err != nil || string(data) != "mine" {
		t.Errorf("%q, %v", data, err)
	}
}

// Three services in a chain, the last one dead: over real HTTP, only the layer
// above the dead one retries.
func TestHTTPChain(t *testing.T) {
	t.Parallel()
	var leaf atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		leaf.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	for range 2 {
		c, err := NewHTTPClient(srv.Client().Transport, HTTPClientConfig{LoopFor: fixed(eager(t, LoopConfig{}))})
		if err != nil {
			t.Fatal(err)
		}
		below := srv.URL
		srv = httptest.NewServer(NewHTTPInbound(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
			req, _ := http.NewRequestWithContext(in.Context(), "GET", below, nil)
			resp, err := c.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
		}), InboundConfig{}))
		defer srv.Close()
	}
	c, err := NewHTTPClient(srv.Client().Transport, HTTPClientConfig{LoopFor: fixed(eager(t, LoopConfig{}))})
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
	resp, err := c.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 503 || leaf.Load() != 3 {
		t.Errorf("status %d after %d requests at the leaf, want 3 attempts of one layer", resp.StatusCode, leaf.Load())
	}
}

func fixed(l *Loop) func(string) *Loop { return func(string) *Loop { return l } }

func TestStripHTTP(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	for i, k := range []string{TimeoutKey, AttemptKey, RetriedKey, "X-Kept"} {
		h.Set(k, strconv.Itoa(i))
	}
	if StripHTTP(h); len(h) != 1 || h.Get("X-Kept") == "" {
		t.Errorf("left: %v", h)
	}
	if http.CanonicalHeaderKey(PriorityKey) != priorityHeader || http.CanonicalHeaderKey(TimeoutKey) != timeoutHeader || http.CanonicalHeaderKey(AttemptKey) != attemptHeader {
		t.Error("the header's names are not canonical")
	}
}

package mesh

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// A body in parts: the handler writes one, waits, and ends as it is told.
func TestSpansEndWithTheBody(t *testing.T) {
	t.Parallel()
	readAll := func(b io.ReadCloser) error { _, err := io.ReadAll(b); return err }
	for name, tt := range map[string]struct {
		status  int
		abort   bool // the server breaks off
		leaves  bool // the caller does, before the server ends
		consume func(body io.ReadCloser) error
		failed  bool   // consuming
		want    string // error.type
	}{
		"read to its end":         {200, false, false, readAll, false, ""},
		"closed unread":           {200, false, false, io.ReadCloser.Close, false, ""},
		"broken off":              {200, true, false, readAll, true, "connection_error"},
		"left by its caller":      {200, false, true, readAll, true, "canceled"},
		"a failure, then read":    {410, false, false, readAll, false, "410"},
		"a failure, then broken":  {410, true, false, readAll, true, "410"},
		"a failure, closed twice": {410, false, false, func(b io.ReadCloser) error { return errors.Join(b.Close(), b.Close()) }, false, "410"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var server, caller Config
			cm := measure(&caller, sdktrace.AlwaysSample())
			caller.Telemetry.TraceRatio = 1
			goOn := make(chan struct{})
			m := measuredPair(t, server, caller, &shaky{}, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte("part"))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-goOn:
				case <-r.Context().Done():
				}
				if tt.abort {
					panic(http.ErrAbortHandler)
				}
			})
			ctx, cancel := context.WithCancel(bound(t))
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop/items/7", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := m.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n := len(cm.spans.Ended()); n != 0 {
				t.Errorf("%d spans ended with the header", n)
			}
			if n := cm.value(t, "http.client.request.duration", "server.address=shop"); n != 1 {
				t.Errorf("%v requests counted when the header is there", n)
			}
			if tt.leaves {
				cancel()
			} else {
				close(goOn)
			}
			if err := tt.consume(resp.Body); (err != nil) != tt.failed {
				t.Errorf("the body ended with %v", err)
			}
			want := []string{"client GET", "  client GET"}
			if tt.want != "" {
				want = []string{"client GET error.type=" + tt.want, "  client GET error.type=" + tt.want}
			}
			if got := tree(cm.spans.Ended(), "error.type"); !slices.Equal(got, want) {
				t.Errorf("spans %q, want %q", got, want)
			}
			_ = resp.Body.Close()
			if n := len(cm.spans.Ended()); n != 2 {
				t.Errorf("%d spans ended", n)
			}
		})
	}
}

// Requests that are not sampled pay nothing for it.
func TestUnsampledBodiesAreNotWrapped(t *testing.T) {
	t.Parallel()
	var server, caller Config
	measure(&caller, sdktrace.AlwaysSample())
	caller.Telemetry.TraceRatio = -1
	m := measuredPair(t, server, caller, &shaky{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("all")) })
	req, err := http.NewRequestWithContext(bound(t), http.MethodGet, "http://shop/items/7", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := m.HTTPClient().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, wrapped := resp.Body.(*spanBody); wrapped {
		t.Error("the body of a request without a span is wrapped for one")
	}
}

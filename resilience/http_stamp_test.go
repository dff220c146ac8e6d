package resilience

import (
	"maps"
	"net/http"
	"testing"
	"time"
)

func TestStamps(t *testing.T) {
	t.Parallel()
	var s stamps
	for _, tt := range []struct {
		left time.Duration
		want string
	}{
		{-1, "1n"},
		{0, "1n"},
		{1, "1n"},
		{999, "999n"},
		{1001, "1010n"},
		{12_345 * time.Microsecond, "12400000n"},
		{250 * time.Millisecond, "250000u"},
		{30*time.Second - time.Microsecond, "30000000u"},
		{30*time.Second - 11*time.Millisecond, "29990000u"},
		{NoTimeout, "2562047H"},
	} {
		st := s.of(tt.left)
		if got := st.header[timeoutHeader][0]; got != tt.want {
			t.Errorf("%v left is sent as %q, want %q", tt.left, got, tt.want)
		}
		if s.of(tt.left) != st {
			t.Errorf("%v is written anew", tt.left)
		}
	}
	for d := time.Duration(1); d < time.Hour; d += d/97 + 1 {
		if more := coarse(d) - d; more < 0 || more > max(d/100, 0) || more >= 10*time.Millisecond {
			t.Fatalf("%v is rounded to %v", d, coarse(d))
		}
	}
}

// A request's own header stays as it is, and what is sent has both.
func TestStampLeavesTheRequestAlone(t *testing.T) {
	t.Parallel()
	var sent http.Header
	c, err := NewHTTPClient(trip(func(r *http.Request) (*http.Response, error) {
		sent = r.Header
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}), HTTPClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []http.Header{nil, {}, {"X": {"y"}}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = maps.Clone(own)
		resp, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if sent.Get(TimeoutKey) == "" || len(sent) != len(own)+1 || sent.Get("X") != own.Get("X") || !maps.EqualFunc(req.Header, own, func(a, b []string) bool { return a[0] == b[0] }) {
			t.Errorf("%v was sent as %v and is %v now", own, sent, req.Header)
		}
	}
}

package bundleendpoint

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/weft-mesh/weft/internal/testpki"
)

// TestPace: the endpoint is asked as often as its bundle wants it, within bounds, and
// never sooner because it fails, but for the first bundle.
func TestPace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hint     time.Duration // 0: none
		fail     bool          // after the first
		from, to time.Duration // of each pause
	}{
		"no hint":      {0, false, 4*time.Minute + 30*time.Second, 5 * time.Minute},
		"a hint":       {time.Minute, false, 54 * time.Second, time.Minute},
		"too often":    {time.Second, false, 9 * time.Second, 10 * time.Second},
		"too seldom":   {30 * 24 * time.Hour, false, 54 * time.Minute, time.Hour},
		"negative":     {-5 * time.Second, false, 4*time.Minute + 30*time.Second, 5 * time.Minute},
		"beyond int64": {math.MinInt64, false, 4*time.Minute + 30*time.Second, 5 * time.Minute},
		"failing":      {time.Minute, true, 54 * time.Second, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := testpki.New(t, domain)
				b := spiffebundle.FromX509Bundle(ca.Bundle())
				if tc.hint != 0 {
					b.SetRefreshHint(tc.hint)
				}
				times := attempts(t, 20, func(n int) (*spiffebundle.Bundle, error) {
					if n > 0 && tc.fail {
						return nil, errors.New("away")
					}
					return b, nil
				})
				same := true
				for i := 1; i < len(times); i++ {
					gap := times[i].Sub(times[i-1])
					if gap < tc.from || gap > tc.to {
						t.Fatalf("pause %d is %v, want %v to %v", i, gap, tc.from, tc.to)
					}
					same = same && gap == times[1].Sub(times[0])
				}
				if same {
					t.Error("the pauses have no jitter")
				}
			})
		})
	}
}

// TestFirstBundle: until there is one it is tried for sooner, less and less often.
func TestFirstBundle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		times := attempts(t, 12, func(int) (*spiffebundle.Bundle, error) { return nil, errors.New("away") })
		want := DefaultMinRefresh
		for i := 1; i < len(times); i++ {
			gap := times[i].Sub(times[i-1])
			if gap < want/2-1 || gap > want {
				t.Errorf("pause %d is %v, want %v to %v", i, gap, want/2, want)
			}
			want = min(2*want, DefaultRefresh)
		}
	})
}

// TestTimeout: an endpoint that never answers does not stop the attempts.
func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := prepared(t)
		s.get = func(ctx context.Context) (*spiffebundle.Bundle, error) { <-ctx.Done(); return nil, ctx.Err() }
		s.start()
		began := time.Now()
		if err := s.WaitAsked(t.Context()); err == nil || time.Since(began) != DefaultTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = s.Close()
		_ = s.Close()
	})
}

func prepared(t testing.TB) *Source {
	t.Helper()
	s, err := prepare(Config{TrustDomain: domain, URL: "https://x.example", EndpointID: serverID, Bootstrap: &x509bundle.Set{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// attempts follows an endpoint within a bubble and tells when it was asked.
func attempts(t testing.TB, n int, answer func(int) (*spiffebundle.Bundle, error)) []time.Time {
	t.Helper()
	s := prepared(t)
	var times []time.Time
	done := make(chan struct{})
	s.get = func(ctx context.Context) (*spiffebundle.Bundle, error) {
		times = append(times, time.Now())
		if len(times) == n {
			close(done)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return answer(len(times) - 1)
	}
	s.start()
	<-done
	_ = s.Close()
	return times
}

package contest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h, o Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("of nothing")
	}
	for i := range 1000 {
		h.Note(time.Duration(i+1) * time.Millisecond)
	}
	b, err := json.Marshal(&h)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil || o != h {
		t.Fatalf("not the same after JSON: %v", err)
	}
	o.Add(&h)
	for q, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := o.Quantile(q); got < want*98/100 || got > want*102/100 {
			t.Errorf("quantile %v is %v, want %v within 2 %%", q, got, want)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 65, 1 << 40, 1<<63 - 1} {
		if i := bucket(d); i < 0 || i >= lines || d >= 0 && (bucket(middle(i)) != i) {
			t.Errorf("%d is in bucket %d, whose middle %d is in %d", d, i, middle(i), bucket(middle(i)))
		}
	}
}

// A stall of the server is seen by every call that was due meanwhile, not only by
// the one that was under way.
func TestOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		stalled := &Client{Caller: func() Call {
			return func(context.Context) error {
				if at := time.Since(began); at < time.Second {
					time.Sleep(time.Second - at)
				}
				return nil
			}
		}}
		l, err := run(t.Context(), stalled, Order{Callers: 2, For: 2 * time.Second, Rate: 100})
		if err != nil {
			t.Fatal(err)
		}
		if l.Calls != 200 || l.Lat.Quantile(0.4) > time.Millisecond {
			t.Errorf("%d calls, want 200; those after the stall waited %v", l.Calls, l.Lat.Quantile(0.4))
		}
		if p := l.Lat.Quantile(0.75); p < 450*time.Millisecond || p > 550*time.Millisecond {
			t.Errorf("three quarters waited at most %v, want 500ms", p)
		}
	})
}

func TestClosedLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		steady := &Client{Caller: func() Call {
			return func(context.Context) error { time.Sleep(10 * time.Millisecond); return nil }
		}}
		l, err := run(t.Context(), steady, Order{Callers: 3, For: time.Second})
		if err != nil || l.Calls != 300 || l.Took != time.Second {
			t.Errorf("%d calls in %v, %v", l.Calls, l.Took, err)
		}
		broken := errors.New("broken")
		bad := &Client{Caller: func() Call { return func(context.Context) error { return broken } }}
		if _, err := run(t.Context(), bad, Order{Callers: 3, For: time.Second}); !errors.Is(err, broken) {
			t.Errorf("the error is lost: %v", err)
		}
	})
}

// What a process between publishes is counted, and what it costs to ask it is not.
func TestAllocationsBetween(t *testing.T) {
	t.Parallel()
	var mallocs, asked uint64
	vars := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 3 {
			mallocs += 1000 // something else happens just then
		}
		mallocs += 10
		fmt.Fprintf(w, `{"cmdline":["proxy"],"memstats":{"Alloc":5,"Mallocs":%d,"TotalAlloc":%d}}`, mallocs, 100*mallocs)
	}))
	t.Cleanup(vars.Close)
	p := &Pair{between: &Between{Vars: []string{vars.Listener.Addr().String()}}}
	if err := p.weigh(t.Context()); err != nil || p.asking.Mallocs != 10 || p.asking.Bytes != 1000 {
		t.Fatalf("asking costs %+v, %v", p.asking, err)
	}
	before, err := p.ways(t.Context())
	mallocs += 70
	after, err2 := p.ways(t.Context())
	if used := after.since(before); err != nil || err2 != nil || used.Mallocs-p.asking.Mallocs != 70 || used.Bytes-p.asking.Bytes != 7000 {
		t.Errorf("%+v, %v, %v", used, err, err2)
	}
	p.between.Vars[0] = "127.0.0.1:0"
	if _, err := p.ways(t.Context()); err == nil {
		t.Error("nobody was there, and it is no error")
	}
}

func TestOwnMemory(t *testing.T) {
	t.Parallel()
	u, err := ownUsage()
	if err != nil || u.RSS == 0 != (u.Private == 0) || u.Private > u.RSS || u.Mallocs == 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

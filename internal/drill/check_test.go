package drill

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// good is a request as it should be.
func good(id int) Request {
	due := time.Duration(id) * 10 * ms
	return Request{ID: id, Kind: "unary", Safe: true, Due: due, Deadline: due + time.Second, End: due + 5*ms,
		Sent: []Attempt{{due, "a"}}, Got: []Attempt{{due + ms, "a"}}}
}

func goods(n int, change func(i int, r *Request)) []Request {
	var out []Request
	for i := range n {
		r := good(i)
		if change != nil {
			change(i, &r)
		}
		out = append(out, r)
	}
	return out
}

// Each checker accepts a good ledger, and finds the one thing that is wrong.
func TestChecksFind(t *testing.T) {
	t.Parallel()
	at := func(n int, f func(*Request)) func(int, *Request) {
		return func(i int, r *Request) {
			if i == n {
				f(r)
			}
		}
	}
	ends := func(r []Request) error { return CheckEnds(r, 50*ms) }
	attempts := func(r []Request) error { return CheckAttempts(r, 1.2, 10, time.Second) }
	peers := func(r []Request) error { return CheckPeers(r, func(h string) bool { return h == "a" }, 0) }
	success := func(r []Request) error { return CheckSuccess("then", r, 0.999) }
	for _, tc := range []struct {
		name   string
		check  func([]Request) error
		change func(int, *Request)
		want   string // empty: nothing is wrong
	}{
		{"I1", ends, nil, ""},
		{"I1 on time", ends, at(7, func(r *Request) { r.End = r.Deadline + 50*ms }), ""},
		{"I1 late", ends, at(7, func(r *Request) { r.End = r.Deadline + 51*ms }), "I1: request 7"},
		{"I1 never", ends, at(7, func(r *Request) { r.End = 0 }), "I1: request 7"},
		{"I2", attempts, nil, ""},
		{"I2 twice each", attempts, func(_ int, r *Request) { r.Sent = append(r.Sent, r.Sent[0]) }, "I2: "},
		{"I2 a burst", attempts, at(500, func(r *Request) {
			for range 80 {
				r.Sent = append(r.Sent, r.Sent[0])
			}
		}), "I2: "},
		{"I3", peers, nil, ""},
		{"I3 sent elsewhere", peers, at(3, func(r *Request) { r.Sent[0].Host = "thief" }), "I3: request 3"},
		{"I3 got elsewhere", peers, at(3, func(r *Request) { r.Got[0].Host = "thief" }), "I3: request 3"},
		{"I3 impostor", func(r []Request) error { return CheckPeers(r, func(string) bool { return true }, 1) }, nil, "I3: an endpoint"},
		{"I4", CheckDenied, func(_ int, r *Request) { r.Got, r.Err = nil, errors.New("denied") }, ""},
		{"I4 succeeded", CheckDenied, func(_ int, r *Request) { r.Got = nil }, "I4: request 0"},
		{"I4 handled", CheckDenied, func(_ int, r *Request) { r.Err = errors.New("denied") }, "I4: request 0"},
		{"I6", CheckOnce, at(3, func(r *Request) { r.Safe = false }), ""},
		{"I6 safe twice", CheckOnce, at(3, func(r *Request) { r.Got = append(r.Got, r.Got[0]) }), ""},
		{"I6 unsafe twice", CheckOnce, at(3, func(r *Request) { r.Safe, r.Got = false, append(r.Got, r.Got[0]) }), "I6: request 3"},
		{"I9", success, at(3, func(r *Request) { r.Err = errors.New("x") }), ""},
		{"I9 too few", success, func(i int, r *Request) {
			if i < 2 {
				r.Err = errors.New("x")
			}
		}, "I9: then: 99.800 %"},
		{"I9 none", func([]Request) error { return CheckSuccess("then", nil, 0.5) }, nil, "I9: then: there are no requests"},
		{"I5", func([]Request) error { return CheckSets([]int{0, 2, 1}) }, nil, ""},
		{"I5 empty", func([]Request) error { return CheckSets([]int{0, 2, 0, 2}) }, nil, "I5: snapshot 3 of 4"},
		{"I5 nothing", func([]Request) error { return CheckSets([]int{0}) }, nil, "I5: no snapshot"},
		{"I7", func([]Request) error { return CheckReturned("files", 3, 5, 2) }, nil, ""},
		{"I7 left", func([]Request) error { return CheckReturned("files", 3, 6, 2) }, nil, "I7: 6 files"},
		{"I8", func([]Request) error { return CheckEvents(map[string]int{"a": 1}, map[string]int{"a": 1}) }, nil, ""},
		{"I8 untold", func([]Request) error { return CheckEvents(map[string]int{"a": 1}, nil) }, nil, `I8: "a" happened 1`},
		{"I8 told twice", func([]Request) error { return CheckEvents(map[string]int{"a": 1}, map[string]int{"a": 2}) }, nil, `I8: "a" happened 1`},
		{"I8 invented", func([]Request) error { return CheckEvents(nil, map[string]int{"a": 1}) }, nil, `I8: "a" happened 0`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.check(goods(1000, tc.change))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("found %v", err)
			case tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)):
				t.Errorf("found %v, want %q", err, tc.want)
			}
		})
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	reqs := goods(100, func(i int, r *Request) {
		r.End = r.Due + time.Duration(i+1)*ms
		if i >= 50 {
			r.Sent[0].Host = "b"
		}
	})
	a := func(h string) bool { return h == "a" }
	if got := Quantile(reqs, 0.99); got != 100*ms {
		t.Errorf("Quantile = %v", got)
	}
	if got := Share(reqs, 0, time.Second, a); got != 0.5 {
		t.Errorf("Share = %v", got)
	}
	if got := Quiet(reqs, 0, time.Second, 100*ms, 300*ms, 0.01, a); got != 600*ms {
		t.Errorf("Quiet = %v, want the end of the first window without a", got)
	}
	if got := Quiet(reqs, 0, time.Second, 100*ms, 600*ms, 0.01, a); got != -1 {
		t.Errorf("Quiet for 600 ms = %v, want never", got)
	}
}

func TestOpenIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		time.Sleep(time.Second)
		Open(t.Context(), l, Load{Rate: 10, Length: 2 * time.Second, Deadline: 3 * time.Second, Do: func(ctx context.Context, r *Request) error {
			if RequestFrom(ctx) != r {
				t.Error("the context does not know its request")
			}
			r.Send("a")
			l.Got(r.ID, "a")
			<-ctx.Done()
			return ctx.Err()
		}})
		l.Got(99, "a")
		reqs := l.Requests(Due(time.Second, 2*time.Second))
		if len(reqs) != 10 || len(l.Requests(nil)) != 20 || len(l.Strays()) != 1 {
			t.Fatalf("%d and %d requests, %d strays", len(reqs), len(l.Requests(nil)), len(l.Strays()))
		}
		for i, r := range reqs {
			if r.Due != time.Second+time.Duration(i)*100*ms || r.Took() != 3*time.Second || r.OK() || len(r.Sent) != 1 || len(r.Got) != 1 {
				t.Errorf("request %d: %+v", i, r)
			}
		}
	})
}

func TestEventsCount(t *testing.T) {
	t.Parallel()
	var e Events
	log := slog.New(&e)
	log.Warn("endpoint.ejected", "service", "x", "endpoint", "a")
	log.Warn("endpoint.ejected", "service", "x", "endpoint", "a")
	log.Debug("endpoint.ejected", "endpoint", "a")
	if got := e.Counts(); got["endpoint.ejected a"] != 2 || len(got) != 1 {
		t.Errorf("%v", got)
	}
}

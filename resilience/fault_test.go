package resilience

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestFault(t testing.TB, cfg FaultConfig) *Fault {
	t.Helper()
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(1, 1)).Float64
	}
	f, err := NewFault(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFaultMatches(t *testing.T) {
	t.Parallel()
	header := func(name string) string { return map[string]string{"x-user": "tester"}[name] }
	grpc := &Info{Service: "payments", Cloud: "gcp", Method: "/pay.Pay/Charge", Header: header}
	http := &Info{Service: "payments", Method: "GET", Path: "/items/7"}
	tests := []struct {
		name       string
		rule       FaultRule
		grpc, http bool
	}{
		{"all", FaultRule{}, true, true},
		{"service", FaultRule{Service: "payments"}, true, true},
		{"another service", FaultRule{Service: "pay"}, false, false},
		{"cloud", FaultRule{Cloud: "gcp"}, true, false},
		{"method", FaultRule{MethodPrefix: "/pay.Pay/"}, true, false},
		{"path", FaultRule{MethodPrefix: "/items"}, false, true},
		{"header", FaultRule{Header: "x-user"}, true, false},
		{"header's value", FaultRule{Header: "x-user", HeaderValue: "tester"}, true, false},
		{"another value", FaultRule{Header: "x-user", HeaderValue: "x"}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.rule.Percent, tt.rule.Code, tt.rule.Status = 100, 14, 503
			f := newTestFault(t, FaultConfig{Rules: []FaultRule{tt.rule}})
			for in, want := range map[*Info]bool{grpc: tt.grpc, http: tt.http} {
				_, err := f.Enter(t.Context(), in)
				if hit := errors.Is(err, ErrFault); hit != want || hit && OutcomeOf(err) != (Outcome{Class: Retryable}) {
					t.Errorf("%+v: %v", in, err)
				}
			}
		})
	}
}

func TestFaultPercent(t *testing.T) {
	t.Parallel()
	for _, percent := range []float64{0, 0.01, 0.5, 33.33, 100} {
		f := newTestFault(t, FaultConfig{Rules: []FaultRule{{Percent: percent, Code: 13}}})
		const n = 200_000
		hits := float64(enterN(t, f, &Info{}, n, succeeded))
		want := n * percent / 100
		if math.Abs(hits-want) > 4*math.Sqrt(want+1) {
			t.Errorf("%v %%: %v of %d hit, want about %v", percent, hits, n, want)
		}
	}
}

func TestFaultDelaysAndSwallows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFault(t, FaultConfig{Rules: []FaultRule{
			{MethodPrefix: "/slow", Percent: 100, Delay: time.Second},
			{MethodPrefix: "/late", Percent: 100, Delay: time.Second, Status: 500},
			{MethodPrefix: "/hole", Percent: 100, BlackHole: true},
		}})
		enter := func(ctx context.Context, path string) (time.Duration, error) {
			from := time.Now()
			_, err := f.Enter(ctx, &Info{Path: path})
			return time.Since(from), err
		}
		if d, err := enter(t.Context(), "/slow"); d != time.Second || err != nil {
			t.Error(d, err)
		}
		if d, err := enter(t.Context(), "/late"); d != time.Second || OutcomeOf(err).Class != Failure {
			t.Error(d, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if d, err := enter(ctx, "/hole"); d != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrFault) || OutcomeOf(err).Class != Neutral {
			t.Error(d, err)
		}
		go func() { time.Sleep(3 * time.Second); f.Kill() }()
		if d, err := enter(t.Context(), "/hole"); d != 3*time.Second || err != nil || f.Active() {
			t.Error(d, err, "the kill switch must free who waits")
		}
		if err := f.Set([]FaultRule{{Percent: 100, Code: 14}}); err != nil {
			t.Fatal(err)
		}
		if _, err := enter(t.Context(), "/"); err != nil {
			t.Error("killed, and", err)
		}
		f.Revive()
		if _, err := enter(t.Context(), "/"); !errors.Is(err, ErrFault) || !f.Active() {
			t.Error("revived, and", err)
		}
	})
}

func TestFaultByHeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &Info{Caller: "tester", Header: func(name string) string {
			return map[string]string{FaultKey: "delay=1h, code=8"}[name]
		}}
		if n := enterN(t, newTestFault(t, FaultConfig{}), in, 1, succeeded); n != 0 {
			t.Error("the header counts where nobody allowed it")
		}
		f := newTestFault(t, FaultConfig{AllowHeader: func(in *Info) bool { return in.Caller == "tester" }})
		from := time.Now()
		_, err := f.Enter(t.Context(), in)
		if OutcomeOf(err).Class != Throttled || time.Since(from) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(from))
		}
		if n := enterN(t, f, &Info{Caller: "other", Header: in.Header}, 1, succeeded); n != 0 {
			t.Error("the header counts for a caller who may not")
		}
		f.Kill()
		if n := enterN(t, f, in, 1, succeeded); n != 0 {
			t.Error("the header counts although killed")
		}
	})
}

func TestFaultAllocatesNothing(t *testing.T) {
	f := newTestFault(t, FaultConfig{Rules: []FaultRule{{Service: "other", Percent: 100, Code: 14}, {Percent: 0}}})
	ctx, in := t.Context(), &Info{Service: "payments"}
	if n := testing.AllocsPerRun(1000, func() { _, _ = f.Enter(ctx, in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFaultRulesAreChecked(t *testing.T) {
	t.Parallel()
	for field, r := range map[string]FaultRule{
		"Percent":     {Percent: 0.001},
		"Delay":       {Delay: 2 * time.Hour},
		"Code":        {Code: 17},
		"Status":      {Status: 200},
		"HeaderValue": {HeaderValue: "x"},
	} {
		f := newTestFault(t, FaultConfig{Rules: []FaultRule{{Percent: 100, Code: 14}}})
		if err := f.Set([]FaultRule{{}, r}); err == nil || !strings.Contains(err.Error(), "FaultRule[1]."+field+" is") {
			t.Errorf("%s: %v", field, err)
		}
		if !f.Active() {
			t.Error("a refused Set changed something")
		}
	}
	for _, p := range []float64{-1, 100.01, math.NaN()} {
		if _, err := NewFault(FaultConfig{Rules: []FaultRule{{Percent: p}}}); err == nil {
			t.Errorf("Percent %v", p)
		}
	}
	if _, err := NewFault(FaultConfig{MaxHeaderDelay: -1}); err == nil {
		t.Error("MaxHeaderDelay -1")
	}
}

func FuzzParseFault(f *testing.F) {
	for _, s := range []string{"", "delay=200ms,code=14", "status=503, percent=0.01", "blackhole", "delay=-1s", "percent=NaN", "code=1e9", ",", "=", "blackhole=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := ParseFault(s); ok && r.check("") != nil {
			t.Errorf("%q gives %+v", s, r)
		}
	})
}

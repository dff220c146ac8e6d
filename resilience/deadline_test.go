package resilience

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeoutSyntax(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-1: "1n", 0: "1n", 1: "1n", 99_999_999: "99999999n", 100_000_000: "100000u",
		100_000_001: "100001u", time.Second: "1000000u", time.Minute: "60000000u", time.Hour: "3600000m",
		2 * 24 * time.Hour: "172800S", NoTimeout: "2562047H",
	} {
		if got := FormatTimeout(d); got != want {
			t.Errorf("FormatTimeout(%v) = %q, want %q", d, got, want)
		}
	}
	for s, want := range map[string]time.Duration{
		"1n": 1, "250m": 250 * ms, "5S": 5 * time.Second, "3M": 3 * time.Minute, "2H": 2 * time.Hour, "0m": 0,
		"99999999H": NoTimeout,
	} {
		if got, ok := ParseTimeout(s); !ok || got != want {
			t.Errorf("ParseTimeout(%q) = %v, %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "m", "1", "1s", "-1m", "+1m", "1.5S", " 1m", "123456789m", "1m1", "١m"} {
		if got, ok := ParseTimeout(s); ok {
			t.Errorf("ParseTimeout(%q) = %v", s, got)
		}
	}
}

func FuzzTimeout(f *testing.F) {
	for _, s := range []string{"1n", "99999999H", "", "m", "0u", "12345678S", "-5m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseTimeout(s)
		if !ok {
			return
		}
		again, ok := ParseTimeout(FormatTimeout(d))
		if d < 0 || !ok || again < min(d, 24*time.Hour) {
			t.Errorf("%q is %v, and %q after writing", s, d, FormatTimeout(d))
		}
	})
}

func TestDeadlineGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, err := NewDeadlineGate(DeadlineConfig{})
		if err != nil {
			t.Fatal(err)
		}
		enter := func(left time.Duration, in Info) error {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			defer cancel()
			done, err := g.Enter(ctx, &in)
			if err == nil {
				done(Outcome{})
			}
			return err
		}
		in := Info{Method: "/pay.Pay/Get"}
		check := func(when string, left time.Duration, in Info, want error) {
			t.Helper()
			if err := enter(left, in); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		check("passed", -1, in, ErrDeadlinePassed)
		check("too short", ms/2, in, ErrDeadlineShort)
		check("unknown method", 2*ms, in, nil)
		if _, err := g.Enter(t.Context(), &in); err != nil {
			t.Errorf("no deadline: %v", err)
		}
		for range minSamples {
			done, err := g.Enter(t.Context(), &in)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * ms)
			done(fine)
		}
		check("a probe", 50*ms, in, nil)
		check("less than the method takes", 50*ms, in, ErrDeadlineShort)
		check("enough", 200*ms, in, nil)
		check("stream", 50*ms, Info{Method: in.Method, Stream: true}, nil)
		check("other method", 50*ms, Info{Method: "/pay.Pay/List"}, nil)
		time.Sleep(time.Second)
		check("the next probe: a fast method must not stay refused", 50*ms, in, nil)
		check("only one", 50*ms, in, ErrDeadlineShort)

		g, _ = NewDeadlineGate(DeadlineConfig{Min: 20 * ms, FixedOnly: true})
		check("own minimum", 10*ms, in, ErrDeadlineShort)
		check("above it", 30*ms, in, nil)
	})
}

package authz

import (
	"fmt"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// The functions of time answer what CEL's own do, for names, offsets and nonsense.
func TestZonesAsCEL(t *testing.T) {
	t.Parallel()
	at := cel.Variable("now", cel.TimestampType)
	zone := cel.Variable("zone", cel.StringType)
	plain, err := cel.NewEnv(at, zone)
	if err != nil {
		t.Fatal(err)
	}
	var z zones
	ours, err := cel.NewEnv(append(z.accessors(), at, zone)...)
	if err != nil {
		t.Fatal(err)
	}
	run := func(env *cel.Env, source string, in map[string]any) string {
		ast, issues := env.Compile(source)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		p, err := env.Program(ast)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := p.Eval(in)
		if err != nil {
			return "an error"
		}
		return fmt.Sprint(out)
	}
	for _, f := range []string{"getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds"} {
		for _, name := range []string{"", "UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "+05:45", "-03:30", "23:59", "99:00", "a:b", ":", "Nowhere/At_All", "../etc/passwd"} {
			for _, when := range []time.Time{time.Date(2025, 12, 31, 23, 30, 59, 999e6, time.UTC), time.Date(2026, 7, 1, 0, 15, 1, 0, time.UTC)} {
				in := map[string]any{"now": types.Timestamp{Time: when}, "zone": name}
				source := "now." + f + "(zone)"
				want := run(plain, source, in)
				for range 2 { // the second from what is kept
					if got := run(ours, source, in); got != want {
						t.Errorf("%s of %v in %q: %s, want %s", f, when, name, got, want)
					}
				}
			}
		}
	}
}

// What is kept is bounded, and a zone beyond the bound is told all the same.
func TestZonesAreBounded(t *testing.T) {
	t.Parallel()
	var z zones
	many := map[string]*time.Location{}
	for i := range maxZones {
		many[fmt.Sprint(i)] = time.UTC
	}
	z.known.Store(&many)
	if loc, err := z.load("Europe/Berlin"); err != nil || loc.String() != "Europe/Berlin" {
		t.Errorf("%v, %v", loc, err)
	}
	if n := len(*z.known.Load()); n != maxZones {
		t.Errorf("%d zones are kept, want %d", n, maxZones)
	}
}

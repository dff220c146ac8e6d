package resolvertest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/resolvertest"
	"github.com/weft-mesh/weft/resolver/static"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// subject is a static catalog with its Watch replaced.
func subject(wrap func(*static.Catalog) resolver.Catalog) func(*testing.T) resolvertest.Subject {
	return func(t *testing.T) resolvertest.Subject {
		cat := static.New(static.Config{})
		return resolvertest.Subject{
			Catalog: wrap(cat),
			Set: func(service string, addrs ...string) {
				eps := make([]resolver.Endpoint, len(addrs))
				for i, a := range addrs {
					eps[i].Addr = a
				}
				if err := cat.Set(service, eps...); err != nil {
					t.Fatal(err)
				}
			},
			Break: func() { cat.Lose(errors.New("lost")) },
			Heal:  cat.Restore,
		}
	}
}

type watchFunc func(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error

func (f watchFunc) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	return f(ctx, service, deliver)
}

// mapped changes each snapshot on its way.
func mapped(change func(*resolver.Snapshot)) func(*static.Catalog) resolver.Catalog {
	return func(c *static.Catalog) resolver.Catalog {
		return watchFunc(func(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
			return c.Watch(ctx, service, func(s *resolver.Snapshot) {
				changed := *s
				changed.Endpoints = slices.Clone(s.Endpoints)
				change(&changed)
				deliver(&changed)
			})
		})
	}
}

// violations are catalogs that break the contract, by what they break.
var violations = map[string]func(*static.Catalog) resolver.Catalog{
	"none":     func(c *static.Catalog) resolver.Catalog { return c },
	"unsorted": mapped(func(s *resolver.Snapshot) { slices.Reverse(s.Endpoints) }),
	"nameless": mapped(func(s *resolver.Snapshot) {
		for i, e := range s.Endpoints {
			fresh := *e
			fresh.Service = ""
			s.Endpoints[i] = &fresh
		}
	}),
	"duplicates": mapped(func(s *resolver.Snapshot) {
		if len(s.Endpoints) > 0 {
			s.Endpoints = append(s.Endpoints, s.Endpoints[len(s.Endpoints)-1])
		}
	}),
	"new pointers": mapped(func(s *resolver.Snapshot) {
		for i, e := range s.Endpoints {
			fresh := *e
			s.Endpoints[i] = &fresh
		}
	}),
	"stale called known": mapped(func(s *resolver.Snapshot) {
		if s.State == resolver.Stale {
			s.State = resolver.Known
		}
	}),
	"forgets when lost": mapped(func(s *resolver.Snapshot) {
		if s.State == resolver.Stale {
			s.Endpoints = nil
		}
	}),
	"unknown called empty": mapped(func(s *resolver.Snapshot) {
		if s.State == resolver.Unknown {
			s.State, s.AsOf = resolver.Known, s.AsOf.AddDate(1, 0, 0)
		}
	}),
	"any name": func(c *static.Catalog) resolver.Catalog {
		return watchFunc(func(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
			if resolver.CheckService(service) != nil {
				return nil
			}
			return c.Watch(ctx, service, deliver)
		})
	},
	"returns nil": func(c *static.Catalog) resolver.Catalog {
		return watchFunc(func(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
			if err := c.Watch(ctx, service, deliver); ctx.Err() == nil {
				return err
			}
			return nil
		})
	},
	"queues for slow readers": func(c *static.Catalog) resolver.Catalog {
		return watchFunc(func(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
			if err := resolver.CheckService(service); err != nil {
				return err
			}
			queue, end := make(chan *resolver.Snapshot, 1000), make(chan error, 1)
			go func() {
				end <- c.Watch(ctx, service, func(s *resolver.Snapshot) {
					for range 5 { // more than the suite bears, however few changes c itself passes on
						queue <- s
					}
				})
			}()
			for {
				select {
				case s := <-queue:
					deliver(s)
				case err := <-end:
					return err
				}
			}
		})
	},
	"delivers concurrently": func(c *static.Catalog) resolver.Catalog {
		return watchFunc(func(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
			return c.Watch(ctx, service, func(s *resolver.Snapshot) { go deliver(s) })
		})
	},
}

const violationEnv = "RESOLVERTEST_VIOLATION"

// TestViolation runs the suite on the catalog that the environment names; it is
// the child process of TestSuiteFindsViolations.
func TestViolation(t *testing.T) {
	name := os.Getenv(violationEnv)
	if name == "" {
		name = "none"
	}
	resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
		s := subject(violations[name])(t)
		if name != "none" {
			s.Patience = time.Second // it is going to fail
		}
		return s
	})
}

func TestSuiteFindsViolations(t *testing.T) {
	t.Parallel()
	if os.Getenv(violationEnv) != "" {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(violations)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestViolation$", "-test.timeout=60s", "-test.failfast")
			cmd.Env = append(os.Environ(), violationEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if failed := err != nil && strings.Contains(string(out), "--- FAIL"); failed != (name != "none") {
				t.Errorf("the suite on a catalog with violation %q: error %v\n%s", name, err, out)
			}
		})
	}
}

package resolvertest

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// Subject is a catalog under test and the means to move its source. The
// functions may fail the test that made the Subject.
type Subject struct {
	// Catalog is what is tested. Required.
	Catalog resolver.Catalog
	// Set makes the source list exactly one passing endpoint for each address
	// ("10.0.0.1:1001"), without waiting until Catalog has seen it. An address that
	// stays must keep its identity. Required.
	Set func(service string, addrs ...string)
	// Break makes the source unreachable, Heal brings it back. nil: the source
	// cannot be lost.
	Break, Heal func()
	// Close closes Catalog. It is called twice. nil: Catalog has no Close.
	Close func()
	// Watches counts the upstream watches that run. nil: it cannot be counted.
	Watches func() int
	// Patience bounds each wait. 0: 10 s.
	Patience time.Duration
}

// Run checks the contract of the catalogs that start makes, each check in a
// subtest of its own with a Subject of its own. start cleans up by t.Cleanup.
func Run(t *testing.T, start func(t *testing.T) Subject) {
	t.Helper()
	for _, c := range []struct {
		name  string
		check func(*testing.T, Subject)
	}{
		{"a service without endpoints is known to be empty", knownEmpty},
		{"snapshots are whole, sorted and without duplicates", whole},
		{"services do not mix", services},
		{"an unchanged endpoint keeps its pointer", pointers},
		{"deliveries are sequential and a slow reader sees the newest", slowReader},
		{"nothing is delivered after Watch returned", afterReturn},
		{"a context that has ended ends Watch", endedContext},
		{"an invalid name is refused", badNames},
		{"many watchers see the same", manyWatchers},
		{"a lost source leaves a stale list", staleThenKnown},
		{"a service first asked of a lost source is unknown", unknownThenKnown},
		{"Close ends watches", closeEnds},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			if s.Patience <= 0 {
				s.Patience = 10 * time.Second
			}
			c.check(t, s)
		})
	}
}

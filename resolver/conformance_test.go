package resolver_test

import (
	"context"
	"testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/resolvertest"
	"github.com/weft-mesh/weft/resolver/static"
)

// TestContract runs the suite on a cache, on a union of caches, and with a disk.
func TestContract(t *testing.T) {
	t.Parallel()
	subject := func(cat *static.Catalog, c resolver.Catalog) func(t *testing.T) resolvertest.Subject {
		return func(t *testing.T) resolvertest.Subject {
			return resolvertest.Subject{
				Catalog: c,
				Set: func(service string, addrs ...string) {
					eps := make([]resolver.Endpoint, len(addrs))
					for i, a := range addrs {
						eps[i].Addr = a
					}
					must(t, cat.Set(service, eps...))
				},
				Break: func() { cat.Lose(errBroken) },
				Heal:  cat.Restore,
			}
		}
	}
	t.Run("cache", func(t *testing.T) {
		t.Parallel()
		resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
			cat := static.New(static.Config{})
			src := &counted{Catalog: cat}
			c := newCache(t, src, resolver.CacheConfig{Hold: -1, Dir: t.TempDir()})
			s := subject(cat, c)(t)
			s.Watches = func() int { return int(src.running.Load()) }
			s.Close = func() { must(t, c.Close(context.Background())) }
			return s
		})
	})
	t.Run("merge", func(t *testing.T) {
		t.Parallel()
		resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
			cat := static.New(static.Config{})
			src := &counted{Catalog: cat}
			m, err := resolver.Merge(resolver.Source{Name: "aws", Catalog: src}, resolver.Source{Name: "gcp", Catalog: static.New(static.Config{Name: "gcp"})})
			must(t, err)
			s := subject(cat, m)(t)
			s.Watches = func() int { return int(src.running.Load()) }
			s.Close = func() { must(t, m.Close(context.Background())) }
			return s
		})
	})
	t.Run("filter", func(t *testing.T) {
		t.Parallel()
		resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
			cat := static.New(static.Config{})
			return subject(cat, resolver.Filter(cat, func(*resolver.Endpoint) bool { return true }))(t)
		})
	})
}

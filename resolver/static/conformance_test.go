package static_test

import (
	"errors"
	"testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/resolvertest"
	"github.com/weft-mesh/weft/resolver/static"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
		cat := static.New(static.Config{})
		return resolvertest.Subject{
			Catalog: cat,
			Set:     func(service string, addrs ...string) { set(t, cat, service, addrs...) },
			Break:   func() { cat.Lose(errors.New("lost")) },
			Heal:    cat.Restore,
		}
	})
}

func set(t testing.TB, cat *static.Catalog, service string, addrs ...string) {
	t.Helper()
	eps := make([]resolver.Endpoint, len(addrs))
	for i, a := range addrs {
		eps[i].Addr = a
	}
	if err := cat.Set(service, eps...); err != nil {
		t.Fatal(err)
	}
}

package chain

import (
	"context"
	"reflect"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// Update is what a [Source] knows of a service's chain. It is immutable.
type Update struct {
	// Chain is the newest good chain. nil: none is known yet.
	Chain *Chain
	// Problems are what Chain's source says and nobody reads. nil: none.
	Problems []Problem
	// Err is why Chain is not newer: the source cannot be reached, or what it says is
	// refused. nil: Chain is the newest.
	Err error
	// AsOf is when the source last confirmed Chain; zero if Chain is nil.
	AsOf time.Time
}

// Source gives the chains of services.
//
// WatchChain delivers the chain of a service, and each newer one, until ctx ends,
// and then returns ctx's error. The first delivery comes when something is known: a
// chain, or why there is none. Deliveries are sequential; none comes after it
// returned. A source that cannot be reached is no error of WatchChain, but an Update.
type Source interface {
	WatchChain(ctx context.Context, service string, deliver func(Update)) error
}

// Compiled is the chains of a set of entries that changes, as they are compiled here.
// It implements [Source].
type Compiled struct {
	// Watch delivers the entries, like [File.Watch].
	Watch func(ctx context.Context, deliver func(*EntrySet)) error
	// Config says where the chains are for. The zero value works.
	Config CompileConfig
}

// WatchChain implements [Source]. A set of which the chain cannot be made keeps the
// last one.
func (s Compiled) WatchChain(ctx context.Context, service string, deliver func(Update)) error {
	if err := resolver.CheckService(service); err != nil {
		return err
	}
	var last Update
	return s.Watch(ctx, func(set *EntrySet) {
		c, err := set.Compile(service, s.Config)
		if err != nil {
			if last.Err == nil || last.Err.Error() != err.Error() {
				last.Err = err
				deliver(last)
			}
			return
		}
		if last.Err == nil && last.Chain != nil && reflect.DeepEqual(last.Chain, c) {
			return
		}
		last = Update{Chain: c, Problems: set.Problems(), AsOf: time.Now()}
		deliver(last)
	})
}

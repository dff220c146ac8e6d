package chain

import (
	"context"
	"time"
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

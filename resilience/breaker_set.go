package resilience

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
)

// DefaultMaxKeys bounds what is kept per name that comes from outside.
const DefaultMaxKeys = 4096

// BreakerSet is a Gate of Breakers, one for each pair of Info.Service and
// Info.Cloud, made when first used. It holds at most maxBreakers; past that,
// idle closed ones are dropped, and if there is none, calls of further pairs
// pass unwatched.
type BreakerSet struct {
	cfg BreakerConfig
	by  atomic.Pointer[map[breakerKey]*Breaker] // replaced, never written

	mu        sync.Mutex
	max       int
	unwatched atomic.Uint64
}

type breakerKey struct{ service, cloud string }

// NewBreakerSet makes an empty set. It refuses a senseless BreakerConfig, naming
// the field. maxBreakers of zero or less means DefaultMaxKeys.
func NewBreakerSet(cfg BreakerConfig, maxBreakers int) (*BreakerSet, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if maxBreakers <= 0 {
		maxBreakers = DefaultMaxKeys
	}
	s := &BreakerSet{cfg: cfg, max: maxBreakers}
	s.by.Store(&map[breakerKey]*Breaker{})
	return s, nil
}

// Enter implements [Gate] with the Breaker of the call's service and cloud.
func (s *BreakerSet) Enter(ctx context.Context, in *Info) (func(Outcome), error) {
	b := (*s.by.Load())[breakerKey{in.Service, in.Cloud}]
	if b == nil {
		if b = s.Breaker(in.Service, in.Cloud); b == nil {
			s.unwatched.Add(1)
			return nothing, nil
		}
	}
	return b.Enter(ctx, in)
}

// Breaker is the Breaker of a service in a cloud, made if there is none; nil if
// the set is full of Breakers that are in use.
func (s *BreakerSet) Breaker(service, cloud string) *Breaker {
	k := breakerKey{service, cloud}
	if b := (*s.by.Load())[k]; b != nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.by.Load()
	if b := old[k]; b != nil {
		return b
	}
	by := maps.Clone(old)
	if len(by) >= s.max {
		maps.DeleteFunc(by, func(_ breakerKey, b *Breaker) bool { return b.idle() })
		if len(by) >= s.max {
			return nil
		}
	}
	b := newBreaker(service, cloud, s.cfg)
	by[k] = b
	s.by.Store(&by)
	return b
}

// States is the state of each Breaker that is not closed, by service and cloud.
func (s *BreakerSet) States() map[[2]string]BreakerState {
	out := map[[2]string]BreakerState{}
	for k, b := range *s.by.Load() {
		if st := b.State(); st != BreakerClosed {
			out[[2]string{k.service, k.cloud}] = st
		}
	}
	return out
}

// Unwatched is how many calls passed because the set was full.
func (s *BreakerSet) Unwatched() uint64 { return s.unwatched.Load() }

// idle reports whether forgetting the Breaker loses nothing.
func (b *Breaker) idle() bool {
	p := b.phase.Load()
	if p.state != BreakerClosed {
		return false
	}
	n, _ := p.calls.sum(p.calls.now())
	return n == 0
}

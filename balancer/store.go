package balancer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// Load is the live load of an endpoint. All methods are safe for concurrent use
// and take no lock.
type Load struct {
	inflight atomic.Int64
	ewma     atomic.Uint64 // see ewma.go
	refused  atomic.Int64  // Now() since which no connection could be made, or 0
	ejected  atomic.Int64  // Now() until which it is not picked, or 0
	degraded atomic.Int64  // Now() until which it counts as unhealthy, or 0
	clock    *clock
}

// InFlight is the number of attempts begun and not done.
func (l *Load) InFlight() int64 { return l.inflight.Load() }

// clock is the coarse time of the picks, in ticks. The end of each attempt has
// read the real clock anyway and moves it on; while no attempt ends, no time
// passes, and nobody learns anything that could grow old.
type clock struct{ tick atomic.Uint32 }

// advance moves the clock if it lags by more than about a millisecond.
func (c *clock) advance(tick uint32) {
	if old := c.tick.Load(); int32(tick-old) >= 16 {
		c.tick.CompareAndSwap(old, tick)
	}
}

// Store keeps the Load of endpoints by identity, so that it survives catalog
// updates, re-dialled channels and channels that went idle, and is shared by
// gRPC and HTTP. The zero value is ready to use. It starts no goroutine: what
// nobody used for half an hour is forgotten when a new endpoint comes.
type Store struct {
	mu     sync.Mutex
	loads  map[resolver.ID]*stored
	swept  time.Time
	clock  clock
	users  map[*Balancer]struct{}
	clouds map[cloudKey]time.Time // closed until
}

type stored struct {
	load Load
	refs int
	idle int64 // Now() when refs became 0
}

// keepIdle is how long a Load outlives the last balancer that used it.
const keepIdle = 30 * time.Minute

func (s *Store) acquire(id resolver.ID) *Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.loads[id]
	if e == nil {
		if s.loads == nil {
			s.loads = map[resolver.ID]*stored{}
			s.clock.tick.Store(tickOf(Now()))
			s.swept = time.Now()
		}
		if now := time.Now(); now.Sub(s.swept) > keepIdle/4 {
			s.swept = now
			s.sweepLocked(Now())
		}
		e = &stored{}
		e.load.clock = &s.clock
		s.loads[id] = e
	}
	e.refs++
	return &e.load
}

func (s *Store) release(id resolver.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.loads[id]; e != nil {
		if e.refs--; e.refs == 0 {
			e.idle = Now()
		}
	}
}

// deadAfter is how long an endpoint must refuse connections to count as dead.
const deadAfter = 5 * time.Second

// Dead reports whether live traffic shows that an endpoint is gone: for 5 s or
// more no connection to it could be made. An endpoint that nobody tries to reach
// is not dead. It is meant for resolver.CacheConfig.Dead.
func (s *Store) Dead(id resolver.ID) bool {
	s.mu.Lock()
	e := s.loads[id]
	s.mu.Unlock()
	if e == nil {
		return false
	}
	since := e.load.refused.Load()
	return since != 0 && Now()-since >= int64(deadAfter)
}

func (s *Store) sweepLocked(now int64) {
	for id, e := range s.loads {
		if e.refs == 0 && now-e.idle > int64(keepIdle) {
			delete(s.loads, id)
		}
	}
}

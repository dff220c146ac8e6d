package resilience

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// RateConfig says how many calls per second each key may make. A key is made of
// what ByCaller and ByMethod name; of neither: there is one for all calls. The
// zero value limits nothing and honours what servers ask.
type RateConfig struct {
	// PerSecond is how many calls a key may make. 0: any number.
	PerSecond float64
	// Burst is how many of them may come at once. 0: PerSecond rounded up, at least 1.
	Burst int
	// ByCaller gives each Info.Caller a rate of its own; false: it does not.
	ByCaller bool
	// ByMethod gives each Info.Service and Info.Method a rate of its own; false: it
	// does not.
	ByMethod bool
	// MaxKeys bounds the keys that are remembered; the least recently used is
	// forgotten, and begins again with a full burst. 0: DefaultMaxKeys.
	MaxKeys int
	// MaxPushback bounds how long a key holds still because the other side answered
	// Throttled with a time to wait. 0: 30 s; negative: it does not hold still.
	MaxPushback time.Duration
}

// RateLimit is a Gate of token buckets, for a server or a client. A refusal says
// when the next token comes. On a client it holds still for as long as a server
// that refuses load asks (Retry-After, grpc-retry-pushback-ms).
type RateLimit struct {
	cfg   RateConfig
	start time.Time
	every time.Duration // between tokens
	room  time.Duration // how far ahead of now a bucket may be: burst tokens

	mu     sync.Mutex
	by     map[rateKey]*bucket
	newest bucket // of a ring in the order of use: next is the newest, prev the oldest
}

type rateKey struct{ caller, service, method string }

// bucket is a token bucket as the time when it would be full (GCRA). It belongs to
// a ring, guarded by RateLimit.mu.
type bucket struct {
	l          *RateLimit
	key        rateKey
	full       time.Duration // since start
	still      time.Duration // refuses until
	done       func(Outcome)
	prev, next *bucket
}

// NewRateLimit makes a RateLimit. It refuses a senseless RateConfig, naming the
// field.
func NewRateLimit(cfg RateConfig) (*RateLimit, error) {
	var ck checks
	if !(cfg.PerSecond >= 0 && cfg.PerSecond <= 1e9) || cfg.PerSecond > 0 && cfg.PerSecond < 1e-6 {
		ck.fail("RateConfig.PerSecond", cfg.PerSecond, "use 0.000001 to 1000000000, or 0 for no limit")
	}
	ck.count("RateConfig.Burst", &cfg.Burst, 1, max(1, int(math.Ceil(min(cfg.PerSecond, 1e9)))))
	ck.count("RateConfig.MaxKeys", &cfg.MaxKeys, 1, DefaultMaxKeys)
	if ck.err != nil {
		return nil, ck.err
	}
	if cfg.MaxPushback == 0 {
		cfg.MaxPushback = 30 * time.Second
	}
	l := &RateLimit{cfg: cfg, start: time.Now(), by: map[rateKey]*bucket{}}
	if cfg.PerSecond > 0 {
		l.every = max(1, time.Duration(float64(time.Second)/cfg.PerSecond))
		if room := float64(l.every) * float64(cfg.Burst); room > float64(math.MaxInt64)/4 {
			return nil, fmt.Errorf("resilience: RateConfig.Burst is %d, which takes longer than a lifetime to fill at %v per second", cfg.Burst, cfg.PerSecond)
		}
		l.room = l.every * time.Duration(cfg.Burst)
	}
	l.newest.prev, l.newest.next = &l.newest, &l.newest
	return l, nil
}

// Enter implements [Gate].
func (l *RateLimit) Enter(_ context.Context, in *Info) (func(Outcome), error) {
	now := time.Since(l.start)
	var k rateKey
	if l.cfg.ByCaller {
		k.caller = in.Caller
	}
	if l.cfg.ByMethod {
		k.service, k.method = in.Service, in.Method
	}
	l.mu.Lock()
	b := l.use(k)
	wait := b.still - now
	if l.every > 0 && wait <= 0 {
		full := max(b.full, now) + l.every
		if wait = full - now - l.room; wait <= 0 {
			b.full = full
		}
	}
	l.mu.Unlock()
	if wait > 0 {
		return nil, refuse(ErrRate, in, wait)
	}
	return b.done, nil
}

// use is the bucket of k, now the newest. It is called with l.mu held.
func (l *RateLimit) use(k rateKey) *bucket {
	b := l.by[k]
	if b == nil {
		if len(l.by) >= l.cfg.MaxKeys {
			oldest := l.newest.prev
			oldest.unlink()
			delete(l.by, oldest.key)
		}
		b = &bucket{l: l, key: k}
		b.done = nothing
		if l.cfg.MaxPushback > 0 {
			b.done = b.ended
		}
		l.by[k] = b
	} else {
		b.unlink()
	}
	b.prev, b.next = &l.newest, l.newest.next
	b.prev.next, b.next.prev = b, b
	return b
}

func (b *bucket) unlink() { b.prev.next, b.next.prev = b.next, b.prev }

// ended holds the bucket still if the other side asked for it.
func (b *bucket) ended(o Outcome) {
	if o.Class != Throttled || o.RetryAfter <= 0 {
		return
	}
	l := b.l
	until := time.Since(l.start) + min(o.RetryAfter, l.cfg.MaxPushback)
	l.mu.Lock()
	b.still = max(b.still, until)
	l.mu.Unlock()
}

// Keys is how many keys are remembered.
func (l *RateLimit) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.by)
}

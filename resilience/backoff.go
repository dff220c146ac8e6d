package resilience

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Defaults of [Backoff].
const (
	DefaultBackoffBase = 25 * time.Millisecond
	DefaultBackoffCap  = time.Second
)

// Backoff is how long to wait between attempts: a random time between nothing
// and a bound that doubles with each retry ("full jitter"), so that callers that
// failed together do not come back together.
type Backoff struct {
	// Base is the bound of the first wait; zero: 25 ms.
	Base time.Duration
	// Cap is the bound that no wait exceeds; zero: 1 s, or Base if that is more.
	Cap time.Duration
}

// Validate names the field that makes no sense.
func (b Backoff) Validate() error {
	if b.Base < 0 {
		return fmt.Errorf("resilience: Backoff.Base is %v: it must not be negative", b.Base)
	}
	if b.Cap < 0 {
		return fmt.Errorf("resilience: Backoff.Cap is %v: it must not be negative", b.Cap)
	}
	if d := b.withDefaults(); d.Cap < d.Base {
		return fmt.Errorf("resilience: Backoff.Cap is %v: it must not be less than Base, %v", b.Cap, d.Base)
	}
	return nil
}

func (b Backoff) withDefaults() Backoff {
	if b.Base == 0 {
		b.Base = DefaultBackoffBase
	}
	if b.Cap == 0 {
		b.Cap = max(DefaultBackoffCap, b.Base)
	}
	return b
}

// Bound is the longest wait before retry n; the first retry is 1.
func (b Backoff) Bound(n int) time.Duration {
	b = b.withDefaults()
	d := b.Base
	for ; n > 1 && d < b.Cap; n-- {
		if d > b.Cap/2 {
			return b.Cap
		}
		d *= 2
	}
	return min(d, b.Cap)
}

// Delay is a random wait before retry n, from zero to Bound(n).
func (b Backoff) Delay(n int) time.Duration {
	return rand.N(b.Bound(n) + 1)
}

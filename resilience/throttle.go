package resilience

import (
	"context"
	"math/rand/v2"
	"time"
)

// ThrottleConfig says when a client holds calls back by itself. The zero value is
// a safe default.
type ThrottleConfig struct {
	// K is how many calls may be sent for each one that is accepted, at least 1:
	// 2 lets the service see twice what it can take, and so recover quickly. 0: 2
	// (SRE book, chapter 21).
	K float64
	// Window is the time over which calls are counted, in 12 parts. 0: 120 s (SRE
	// book).
	Window time.Duration
	// MinRefused is how many calls of a class the service must have refused in the
	// window, and a tenth of those accepted as well, before any is held back: a
	// burst that waits for its first answers is no sign of overload. 0: 5.
	MinRefused int
	// Rand decides, 0 to 1. nil: math/rand/v2.
	Rand func() float64
}

// Throttle is a Gate that holds calls back in this process when the service
// refuses many: with the probability
//
//	max(0, (requests - K·accepts) / (requests + 1))
//
// of Google's SRE book, for each priority class by itself. So the service is
// spared the refusals, and gets its load back by and by when it accepts again; it is
// the smooth neighbour of Breaker. Make one for each service.
//
// A call counts as a request when it is sent or held back, not when it ends, so
// that a service which does not answer at all is seen too. Throttled and
// Retryable outcomes are refusals; Neutral ones count as accepted, since they
// say nothing, and a stream counts as accepted from its beginning.
type Throttle struct {
	cfg     ThrottleConfig
	classes [Priorities]throttleClass // by rank
}

type throttleClass struct {
	sent    *window // requests, accepts
	refused *window // unused, refusals
	done    func(Outcome)
}

// NewThrottle makes a Throttle. It refuses a senseless ThrottleConfig, naming the
// field.
func NewThrottle(cfg ThrottleConfig) (*Throttle, error) {
	var ck checks
	ck.number("ThrottleConfig.K", &cfg.K, 1, 2)
	ck.span("ThrottleConfig.Window", &cfg.Window, 100*time.Millisecond, 120*time.Second)
	ck.count("ThrottleConfig.MinRefused", &cfg.MinRefused, 1, 5)
	if ck.err != nil {
		return nil, ck.err
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	t := &Throttle{cfg: cfg}
	for i := range t.classes {
		c := &t.classes[i]
		c.sent, c.refused = newWindow(cfg.Window, 12), newWindow(cfg.Window, 12)
		c.done = c.ended
	}
	return t, nil
}

// Enter implements [Gate]. It takes no lock, and allocates only for a refusal.
func (t *Throttle) Enter(_ context.Context, in *Info) (func(Outcome), error) {
	c := &t.classes[in.Priority.Rank()]
	now := c.sent.now()
	if p := c.probability(&t.cfg, now); p > 0 && t.cfg.Rand() < p {
		c.sent.add(now, 1, 0)
		return nil, refuse(ErrThrottled, in, 0)
	}
	if in.Stream {
		c.sent.add(now, 1, 1)
		return c.streamDone, nil
	}
	c.sent.add(now, 1, 0)
	return c.done, nil
}

func (c *throttleClass) ended(o Outcome) {
	if o.Class == Throttled || o.Class == Retryable {
		c.refused.add(c.refused.now(), 0, 1)
		return
	}
	c.sent.add(c.sent.now(), 0, 1)
}

func (c *throttleClass) streamDone(o Outcome) {
	if o.Class == Throttled || o.Class == Retryable {
		c.refused.add(c.refused.now(), 0, 1)
	}
}

func (c *throttleClass) probability(cfg *ThrottleConfig, now time.Duration) float64 {
	_, refused := c.refused.sum(now)
	if refused < uint64(cfg.MinRefused) {
		return 0
	}
	requests, accepts := c.sent.sum(now)
	if 10*refused < accepts {
		return 0
	}
	return max(0, (float64(requests)-cfg.K*float64(accepts))/float64(requests+1))
}

// Probability is how likely a call of class p would be held back now.
func (t *Throttle) Probability(p Priority) float64 {
	c := &t.classes[p.Rank()]
	return c.probability(&t.cfg, c.sent.now())
}

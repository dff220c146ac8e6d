package resilience

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// BudgetConfig is how many repeats a destination may get.
type BudgetConfig struct {
	// Ratio is how many repeats (retries and hedges together) may follow from the
	// requests of the window; zero: 0.1. At most 1.
	Ratio float64
	// Reserve is how many repeats per second are allowed on top, so that a caller
	// with few requests can repeat at all; zero: 10. For a caller that must not
	// repeat beyond Ratio, set a tiny number.
	Reserve float64
	// HedgeRatio is the part of the requests that may be hedged, inside Ratio and
	// Reserve; zero: 0.03. At most 1. One hedge per window is always inside it.
	HedgeRatio float64
	// Window is the time over which requests and repeats are counted; zero: 10 s.
	// At least 100 ms.
	Window time.Duration
}

// Validate names the field that makes no sense.
func (c BudgetConfig) Validate() error {
	if !ratio(c.Ratio) {
		return fmt.Errorf("resilience: BudgetConfig.Ratio is %v: it must be from 0 to 1", c.Ratio)
	}
	if !(c.Reserve >= 0) || math.IsInf(c.Reserve, 0) {
		return fmt.Errorf("resilience: BudgetConfig.Reserve is %v: it must be a number of repeats per second, not negative", c.Reserve)
	}
	if !ratio(c.HedgeRatio) {
		return fmt.Errorf("resilience: BudgetConfig.HedgeRatio is %v: it must be from 0 to 1", c.HedgeRatio)
	}
	if c.Window < 0 || c.Window > 0 && c.Window < 100*time.Millisecond {
		return fmt.Errorf("resilience: BudgetConfig.Window is %v: it must be at least 100ms", c.Window)
	}
	return nil
}

// ratio is false for NaN as well.
func ratio(f float64) bool { return f >= 0 && f <= 1 }

func (c BudgetConfig) withDefaults() BudgetConfig {
	if c.Ratio == 0 {
		c.Ratio = 0.1
	}
	if c.Reserve == 0 {
		c.Reserve = 10
	}
	if c.HedgeRatio == 0 {
		c.HedgeRatio = 0.03
	}
	if c.Window == 0 {
		c.Window = 10 * time.Second
	}
	return c
}

// Budget bounds what repeats add to the load of one destination. A process has
// one per destination, whatever the number of connections, callers and
// transports: it is what keeps a failing service from being buried by retries.
//
// It counts over a sliding window (Finagle's RetryBudget has the same form).
// All methods may be called at the same time; none takes a lock or allocates.
type Budget struct {
	cfg   BudgetConfig
	start time.Time

	requests, repeats, hedges slots
	counts                    loopCounts
}

// NewBudget makes a Budget. It fails if cfg does not validate.
func NewBudget(cfg BudgetConfig) (*Budget, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Budget{cfg: cfg.withDefaults(), start: time.Now()}, nil
}

// Request counts a call; its repeats are asked for one by one.
func (b *Budget) Request() { b.requests.add(b.slot(), 1) }

// Retry takes a retry out of the budget and reports whether it was there.
func (b *Budget) Retry() bool {
	s := b.slot()
	b.repeats.add(s, 1) // first take, then look: two at once cannot both get the last one
	if float64(b.repeats.sum(s)) <= b.allowed(s) {
		return true
	}
	b.repeats.add(s, -1)
	return false
}

// Hedge takes a hedge out of the budget and reports whether it was there.
func (b *Budget) Hedge() bool {
	s := b.slot()
	b.hedges.add(s, 1)
	most := math.Max(1, b.cfg.HedgeRatio*float64(b.requests.sum(s)))
	if float64(b.hedges.sum(s)) <= most && b.Retry() {
		return true
	}
	b.hedges.add(s, -1)
	return false
}

// BudgetStatus is what a Budget counts at one moment, over its window.
type BudgetStatus struct {
	// Requests are the calls, Repeats the retries and hedges that were granted,
	// Hedges the hedges among them.
	Requests, Repeats, Hedges int
	// Left is how many more repeats would be granted now.
	Left int
}

// Status reports the counts, for status pages and tests.
func (b *Budget) Status() BudgetStatus {
	s := b.slot()
	st := BudgetStatus{Requests: int(b.requests.sum(s)), Repeats: int(b.repeats.sum(s)), Hedges: int(b.hedges.sum(s))}
	st.Left = max(0, int(b.allowed(s))-st.Repeats)
	return st
}

func (b *Budget) allowed(slot uint32) float64 {
	return b.cfg.Ratio*float64(b.requests.sum(slot)) + b.cfg.Reserve*b.cfg.Window.Seconds()
}

func (b *Budget) slot() uint32 {
	return uint32(time.Since(b.start) / (b.cfg.Window / slotCount))
}

const slotCount = 10

// slots counts over a sliding window. A word holds the number of its slot in the
// upper half and the count in the lower one, so that starting a slot anew and
// counting in it are one compare-and-swap, and no count is lost.
type slots [slotCount]atomic.Uint64

func (w *slots) add(slot uint32, delta int32) {
	p := &w[slot%slotCount]
	for {
		old := p.Load()
		count := uint32(old)
		if uint32(old>>32) != slot {
			count = 0
		}
		if delta < 0 && count == 0 {
			return // the slot went by in between
		}
		if p.CompareAndSwap(old, uint64(slot)<<32|uint64(count+uint32(delta))) {
			return
		}
	}
}

func (w *slots) sum(slot uint32) (n uint64) {
	for i := range w {
		if v := w[i].Load(); slot-uint32(v>>32) < slotCount {
			n += uint64(uint32(v))
		}
	}
	return n
}

// maxBudgets bounds a BudgetStore: destinations beyond it share one Budget.
const maxBudgets = 4096

// BudgetStore keeps the Budget of each service for the life of the process, so
// that a new connection, a resolver's update or a pause does not refill it.
type BudgetStore struct {
	cfg BudgetConfig

	mu      sync.RWMutex
	budgets map[string]*Budget
}

// NewBudgetStore makes an empty store. Its Budgets are made of cfg, which must
// validate.
func NewBudgetStore(cfg BudgetConfig) (*BudgetStore, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &BudgetStore{cfg: cfg, budgets: map[string]*Budget{}}, nil
}

// For is the service's Budget; it is made by the first who asks.
func (s *BudgetStore) For(service string) *Budget {
	s.mu.RLock()
	b := s.budgets[service]
	s.mu.RUnlock()
	if b != nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.budgets) >= maxBudgets && s.budgets[service] == nil {
		service = "" // no service has this name
	}
	if b = s.budgets[service]; b == nil {
		b = &Budget{cfg: s.cfg.withDefaults(), start: time.Now()}
		s.budgets[service] = b
	}
	return b
}

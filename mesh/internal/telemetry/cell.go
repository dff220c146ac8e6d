package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// Series is one time series of durations.
type Series struct {
	*Histogram
	// Attrs are its attributes.
	Attrs attribute.Set

	slow     atomic.Int64 // the p99 at the last look, in nanoseconds; 0: not known
	replayed []uint64     // by bucket, what a Bridge has passed on; guarded by the Bridge
}

// Cell is what the calls of one method add to: one Series for each way to end, made
// when a call ends so for the first time.
type Cell struct {
	ends   []atomic.Pointer[Series]
	attrs  func(end int) []attribute.KeyValue
	events bool // the p99 is wanted
}

func newCell(ends int, slow bool, attrs func(end int) []attribute.KeyValue) *Cell {
	return &Cell{ends: make([]atomic.Pointer[Series], ends), attrs: attrs, events: slow}
}

// Record counts a call that ended in one of the ways of its kind, and reports
// whether it took longer than 99 % of those before it.
func (c *Cell) Record(end int, d time.Duration, draw uint32) (slow bool) {
	s := c.ends[end].Load()
	if s == nil {
		s = c.open(end)
	}
	s.Record(d, draw)
	if !c.events {
		return false
	}
	if draw>>22 == 0 { // one of 1024
		s.look()
	}
	p99 := s.slow.Load()
	return p99 > 0 && int64(d) > p99
}

func (c *Cell) open(end int) *Series {
	c.ends[end].CompareAndSwap(nil, &Series{Histogram: NewHistogram(), Attrs: attribute.NewSet(c.attrs(end)...)})
	return c.ends[end].Load()
}

// slowAfter is how many calls a p99 needs.
const slowAfter = 200

// look finds the p99 anew.
func (s *Series) look() {
	d := s.Read()
	if d.Count >= slowAfter {
		// The upper bound of its bucket, so that a usual call is not above it.
		s.slow.Store(int64(float64(d.Quantile(0.99)) * 1.011))
	}
}

// series visits those that exist.
func (c *Cell) series(visit func(*Series)) {
	for i := range c.ends {
		if s := c.ends[i].Load(); s != nil {
			visit(s)
		}
	}
}

// Group is the cells of one metric of one service. What is beyond the bound of
// names shares a cell named Other.
type Group[K comparable] struct {
	r     *Registry
	make  func(K) *Cell
	other *Cell
	cells atomic.Pointer[map[K]*Cell] // replaced, never written
	full  atomic.Bool
	mu    sync.Mutex
}

func newGroup[K comparable](r *Registry, other K, make func(K) *Cell) *Group[K] {
	g := &Group[K]{r: r, make: make, other: make(other)}
	g.cells.Store(&map[K]*Cell{other: g.other})
	return g
}

// Cell is the cell of a name, made when it is first asked for. One look-up, no lock.
func (g *Group[K]) Cell(name K) *Cell {
	if c := (*g.cells.Load())[name]; c != nil {
		return c
	}
	if g.full.Load() {
		g.r.overflow.Add(1)
		return g.other
	}
	return g.open(name)
}

// Known is the cell of a name that was asked for before, or that of Other.
func (g *Group[K]) Known(name K) *Cell {
	if c := (*g.cells.Load())[name]; c != nil {
		return c
	}
	return g.other
}

func (g *Group[K]) open(name K) *Cell {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := *g.cells.Load()
	if c := old[name]; c != nil {
		return c
	}
	if len(old) > g.r.cfg.MaxMethods || !g.r.room() {
		g.full.Store(true)
		g.r.overflow.Add(1)
		return g.other
	}
	next := maps.Clone(old)
	next[name] = g.make(name)
	g.cells.Store(&next)
	return next[name]
}

func (g *Group[K]) series(visit func(*Series)) {
	for _, c := range *g.cells.Load() {
		c.series(visit)
	}
}

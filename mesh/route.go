package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver/chain"
)

// How long a first call waits for its service's chain, and how long a chain is
// followed after its last call.
const (
	chainPatience = 2 * time.Second
	chainIdle     = 15 * time.Minute
)

// router follows the chain of one service. The table is replaced as a whole, so
// that each call is decided by one state of the chain.
type router struct {
	service string
	to      *destination
	source  chain.Source
	build   func(r *router, c *chain.Chain, old *routes) (*routes, []chain.Problem, error)
	keep    func(r *router, some []mark) // ends what older tables asked for
	guard   *chain.Guard
	log     *slog.Logger
	wg      *sync.WaitGroup // of the mesh
	stop    context.Context // ends with the mesh
	connect time.Duration   // the timeout of lanes of which no entry says one

	table atomic.Pointer[routes]
	used  atomic.Bool // since the last look

	mu       sync.Mutex
	lanes    int                          // that were made
	places   *resilience.ConcurrencyLimit // of the caller's own entry; nil: none
	placesOf int
	last     chain.Update
	running  bool
	holders  int           // watches of the service's endpoints
	changed  chan struct{} // closed and replaced with each table
	state    RouteStatus
}

// routes is one state of a chain, ready for use.
type routes struct {
	eval     *chain.Evaluator
	ways     map[*chain.Plan]*way
	lanes    []balancer.Lane       // of these ways; then those of the ways before: switching back finds them connected
	order    []*laneState          // of lanes
	own      int                   // how many are of these ways
	states   map[string]*laneState // by laneName
	services []string              // whose endpoints the lanes need
	marks    []mark                // that the lanes need
	mirror   *mirror               // nil: nothing is mirrored
}

// RouteStatus is what is known of the chain of a service.
type RouteStatus struct {
	// Service is the called service.
	Service string
	// Chain is what is in effect. nil: none is known, calls go to the service itself.
	Chain *chain.Chain
	// Problems are what Chain says and is not done.
	Problems []chain.Problem
	// Err is why Chain is not the newest; nil: it is.
	Err error
	// AsOf is when the source last confirmed Chain; zero: never.
	AsOf time.Time
	// Guard is how the branches under guard stand; nil: there are none.
	Guard []chain.GuardStatus
	// MirrorDropped is how many copies were drawn for the service that the calls are
	// mirrored to, by calls to any service, and not sent: there was no place, or the
	// call cannot be copied, as streams cannot.
	MirrorDropped uint64
}

// current is the table, once one is known or known not to come soon.
func (r *router) current(ctx context.Context) (*routes, error) {
	if t := r.table.Load(); t != nil {
		if !r.used.Load() {
			r.used.Store(true)
		}
		return t, nil
	}
	timeout := time.NewTimer(chainPatience)
	defer timeout.Stop()
	for {
		changed := r.start()
		if t := r.table.Load(); t != nil {
			return t, nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			r.adopt(chain.Update{Err: fmt.Errorf("mesh: no answer about the discovery chain of %q within %v", r.service, chainPatience)})
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.stop.Done():
			return nil, ErrLeft
		}
	}
}

// start follows the chain, if nobody does, and returns what is closed with the
// next table.
func (r *router) start() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running && r.stop.Err() == nil {
		r.running = true
		r.used.Store(true)
		r.wg.Go(r.run)
	}
	return r.changed
}

// hold keeps the chain followed until release.
func (r *router) hold() (release func()) {
	r.mu.Lock()
	r.holders++
	r.mu.Unlock()
	r.start()
	return func() {
		r.mu.Lock()
		r.holders--
		r.mu.Unlock()
	}
}

// run follows the chain until nobody has used it for long.
func (r *router) run() {
	ctx, cancel := context.WithCancel(r.stop)
	defer cancel()
	var idle *time.Timer
	r.mu.Lock()
	idle = time.AfterFunc(chainIdle, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.used.Swap(false) || r.holders > 0 {
			idle.Reset(chainIdle)
			return
		}
		r.running = false
		cancel()
	})
	r.mu.Unlock()
	defer idle.Stop()
	err := r.source.WatchChain(ctx, r.service, r.adopt)
	if ctx.Err() == nil {
		if err == nil {
			err = errors.New("mesh: the watch ended")
		}
		r.adopt(chain.Update{Err: err})
		<-ctx.Done()
	}
	if r.stop.Err() == nil {
		r.rest()
	}
}

// rest forgets the chain of a service that nobody calls: the next call begins anew,
// if it has not yet.
func (r *router) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.table.Load(); old != nil && !r.running {
		r.table.Store(nil)
		r.keep(r, nil)
		old.drop(nil)
	}
}

// adopt takes an update: a good chain replaces the table, anything else is told
// and changes nothing.
func (r *router) adopt(u chain.Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(u, false)
}

// refresh makes the table anew, because something beside the chain has changed.
func (r *router) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table.Load() != nil {
		r.take(r.last, true)
	}
}

// take is called with r.mu held.
func (r *router) take(u chain.Update, anew bool) {
	r.last = u
	c := u.Chain
	old := r.table.Load()
	if c == nil && old == nil {
		c = chain.Single(r.service, "") // the service itself, by the caller's policy alone
	}
	if c == nil && anew {
		c = old.eval.Chain()
	}
	if c != nil && (old == nil || anew || old.eval.Chain() != c) {
		next, problems, err := r.make(c, old)
		switch {
		case err == nil:
			r.table.Store(next)
			if old != nil {
				old.drop(next)
			}
			r.tell(append(append([]chain.Problem(nil), u.Problems...), problems...))
			r.state.Chain = u.Chain
			close(r.changed)
			r.changed = make(chan struct{})
		case old == nil: // nothing good before: the service itself
			u.Err = err
			if next, _, err = r.build(r, chain.Single(r.service, ""), nil); err == nil {
				r.table.Store(next)
				close(r.changed)
				r.changed = make(chan struct{})
			}
		default:
			u.Err = err
		}
	}
	if t := r.table.Load(); t != nil && t != old {
		r.keep(r, t.marks)
	} else if u.Err != nil && old != nil {
		r.keep(r, old.marks) // a table that failed may have asked
	}
	if u.Err != nil && (r.state.Err == nil || r.state.Err.Error() != u.Err.Error()) {
		r.to.seen.registry().Rejected("chain", "rejected")
		r.log.Warn("config.rejected", "service", r.service, "error", u.Err)
	}
	r.state.Err, r.state.AsOf = u.Err, u.AsOf
}

// make builds the table of a chain, if it is one of this service.
func (r *router) make(c *chain.Chain, old *routes) (*routes, []chain.Problem, error) {
	if c.ServiceName != r.service {
		return nil, nil, fmt.Errorf("mesh: the discovery chain of %q is refused: it is of service %.100q", r.service, c.ServiceName)
	}
	return r.build(r, c, old)
}

// tell reports what is not done, once per change.
func (r *router) tell(problems []chain.Problem) {
	had := map[chain.Problem]bool{}
	for _, p := range r.state.Problems {
		had[p] = true
	}
	for _, p := range problems {
		if !had[p] {
			r.to.seen.registry().Rejected("chain", p.Kind)
			r.log.Warn("config.unsupported", "service", r.service, "kind", p.Kind, "name", p.Name, "field", p.Field, "why", p.Why)
		}
	}
	r.state.Problems = problems
}

func (r *router) status() RouteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.Service = r.service
	s.Guard = r.guard.Status()
	if t := r.table.Load(); t != nil && t.mirror != nil {
		s.MirrorDropped = t.mirror.dropped.Load()
	}
	return s
}

// drop ends the lanes that next does not have.
func (t *routes) drop(next *routes) {
	for name, s := range t.states {
		if next == nil || next.states[name] == nil {
			s.close()
		}
	}
}

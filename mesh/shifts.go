package mesh

import (
	"cmp"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
)

// shifts is which services have panic and failover, and in how many balancers: a
// service has one for each connection, one for HTTP, and one for each lane.
type shifts struct {
	mu sync.Mutex
	by map[shiftKey]int
}

type shiftKey struct {
	service string
	kind    balancer.ShiftKind // the first of its pair
}

// turn counts a Shift, and reports whether it is the first or the last one of a service.
func (s *shifts) turn(sh balancer.Shift) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[shiftKey]int{}
	}
	switch sh.Kind {
	case balancer.PanicEntered, balancer.FailoverStarted:
		k := shiftKey{sh.Service, sh.Kind}
		s.by[k]++
		return s.by[k] == 1
	default:
		k := shiftKey{sh.Service, sh.Kind - 1}
		if s.by[k]--; s.by[k] > 0 {
			return false
		}
		delete(s.by, k)
		return true
	}
}

// shiftEvent tells of a service what its balancers did, once for all of them.
func (d *destinations) shiftEvent(sh balancer.Shift) {
	if !d.shifts.turn(sh) {
		return
	}
	from := sh.From.String()
	ended := []any{"service", sh.Service, "from", from}
	if sh.Closed {
		ended = append(ended, "reason", "connection closed")
	}
	switch sh.Kind {
	case balancer.PanicEntered:
		d.log.Warn("panic_mode.entered", "service", sh.Service, "from", from, "healthy", sh.Healthy)
	case balancer.PanicLeft:
		d.log.Info("panic_mode.left", ended...)
	case balancer.FailoverStarted:
		to := cmp.Or(sh.ToService, sh.Service)
		d.log.Warn("failover.started", "service", sh.Service, "from", from, "to", sh.To.String(), "to_service", to, "share", sh.Share, "healthy", sh.Healthy)
	case balancer.FailoverEnded:
		d.log.Info("failover.ended", ended...)
	}
}

// exhausted logs, at most once a second, that calls to a service are not repeated. It
// is called when many calls fail: it takes no lock and allocates nothing in between.
func exhausted(log *slog.Logger, service string) func(*resilience.Info) {
	var next, calls atomic.Int64
	next.Store(math.MinInt64) // a clock may begin below 0
	return func(in *resilience.Info) {
		calls.Add(1)
		now, due := balancer.Now(), next.Load()
		if now < due || !next.CompareAndSwap(due, now+int64(eventEvery)) {
			return
		}
		log.Warn("retry_budget.exhausted", "service", cmp.Or(service, in.Service), "method", in.Method, "calls", calls.Swap(0))
	}
}

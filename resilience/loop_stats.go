package resilience

import "sync/atomic"

// LoopStatus is what all loops that share a Budget have done since it was made. The
// counts cost calls nothing: each is written only when a call is repeated, or may not be.
type LoopStatus struct {
	// Retries are the attempts that followed a failed one, Hedges those that ran beside one.
	Retries, Hedges uint64
	// Exhausted are the calls that were not repeated because the Budget was empty.
	Exhausted uint64
	// Budget is the state of the Budget.
	Budget BudgetStatus
}

type loopCounts struct{ retries, hedges, exhausted atomic.Uint64 }

// Status reports the counts, for status pages and metrics.
func (l *Loop) Status() LoopStatus {
	return LoopStatus{
		Retries:   l.budget.counts.retries.Load(),
		Hedges:    l.budget.counts.hedges.Load(),
		Exhausted: l.budget.counts.exhausted.Load(),
		Budget:    l.budget.Status(),
	}
}

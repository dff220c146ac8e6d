package resilience

import "sync/atomic"

// LoopStatus is what a Loop has done since it was made. The counts cost calls
// nothing: each is written only when a call is repeated, or may not be.
type LoopStatus struct {
	// Retries are the attempts that followed a failed one, Hedges those that ran beside one.
	Retries, Hedges uint64
	// Exhausted are the calls that were not repeated because the Budget was empty.
	Exhausted uint64
	// Budget is the state of the Budget, which other loops may share.
	Budget BudgetStatus
}

type loopCounts struct{ retries, hedges, exhausted atomic.Uint64 }

// Status reports the counts, for status pages and metrics.
func (l *Loop) Status() LoopStatus {
	return LoopStatus{
		Retries:   l.counts.retries.Load(),
		Hedges:    l.counts.hedges.Load(),
		Exhausted: l.counts.exhausted.Load(),
		Budget:    l.budget.Status(),
	}
}

package mesh

import (
	"fmt"

	"github.com/weft-mesh/weft/resilience"
)

// InboundPolicy says how the servers of this process survive their callers. The
// zero value refuses requests that come too late, and turns a handler's panic
// into one failed call.
type InboundPolicy struct {
	// Deadline says what comes too late. Zero: a deadline that has passed, or that
	// the method's calls of late would not have met.
	Deadline resilience.DeadlineConfig
	// NoDeadline lets every request in, however late. Default false.
	NoDeadline bool
	// Gates are entered before the handler, in this order: limits that shed, rates,
	// faults. They must not be shared with outbound calls. Empty: none.
	Gates []resilience.Gate
}

// inbound is what stands in front of the handlers of all servers of a member.
type inbound struct {
	gates    []resilience.Gate
	deadline *resilience.DeadlineGate
}

func newInbound(p InboundPolicy) (inbound, error) {
	in := inbound{gates: p.Gates}
	if p.NoDeadline {
		return in, nil
	}
	var err error
	if in.deadline, err = resilience.NewDeadlineGate(p.Deadline); err != nil {
		return in, fmt.Errorf("mesh: Config.Inbound: %w", err)
	}
	return in, nil
}

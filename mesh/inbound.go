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
	// Rate bounds the requests per second, by caller or method as it says, before a
	// body is read. nil: any number.
	Rate *resilience.RateConfig
	// Concurrency bounds the requests under way, before a body is read; the lowest
	// class is shed first. nil: any number.
	Concurrency *resilience.ConcurrencyConfig
	// Gates are the user's own, a Fault for example, entered after these, in order.
	// They must not be shared with outbound calls. Empty: none.
	Gates []resilience.Gate
}

// inbound is what stands in front of the handlers of all servers of a member.
type inbound struct {
	sheds    []resilience.Gate // before the body is read
	gates    []resilience.Gate // after it, if gRPC reads it
	deadline *resilience.DeadlineGate
}

func newInbound(p InboundPolicy, see seams) (in inbound, err error) {
	sheds, err := p.sheds()
	if err == nil && !p.NoDeadline {
		in.deadline, err = resilience.NewDeadlineGate(p.Deadline)
	}
	var gates []layer
	if err == nil {
		gates, err = withGates(nil, p.Gates)
	}
	if err != nil {
		return in, fmt.Errorf("mesh: Config.Inbound: %w", err)
	}
	in.sheds, in.gates = see.gates(sheds), see.gates(gates)
	return in, nil
}

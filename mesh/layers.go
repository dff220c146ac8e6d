package mesh

import (
	"fmt"

	"github.com/weft-mesh/weft/resilience"
)

// The order of layers is written in this file, and a test asserts it.
//
// An outbound call passes, from the outside in:
//
//	name      the call, once for all attempts: they must know each other
//	telemetry sees what its user sees: one duration, one span, refusals included
//	fault     harms the call as its user would see it; nothing of ours may know better
//	throttle  what the service would refuse anyway takes no token and no place
//	rate      holds no place while it refuses
//	places    the call is under way from here on, all its attempts and waits in it
//	gates     the user's own, where a call has passed all that could refuse it
//	loop      below everything that counts a call once, above everything that is done per attempt
//	pick      per attempt: each goes elsewhere
//	fault     of one cloud, per attempt: only now is it known where the attempt goes
//	send      reply to Outcome; outlier and breaker see each attempt, by their endpoint and cloud
//
// The breaker is no gate here: it closes its cloud to the pick, so that calls go
// elsewhere instead of failing.
//
// An inbound request passes, from the outside in:
//
//	identity  TLS, once per connection
//	telemetry sees what the caller gets
//	authz     before the body is read: nothing is spent on who may not call
//	rate      before the body is read too: who asks too much costs least here
//	places    before the body is read; the lowest class is shed first
//	gates     the user's own
//	recover   a panic of what is inside is one failed call
//	deadline  last, so that what waited in a gate is looked at once more
//	handler

// layer is one gate with its position's name.
type layer struct {
	name string
	gate resilience.Gate
}

// callLayers are the gates that a whole call enters, in order.
func (p *ServicePolicy) callLayers() ([]layer, error) {
	var all []layer
	if p.Fault != nil {
		all = append(all, layer{"fault", p.Fault})
	}
	if p.Throttle != nil {
		t, err := resilience.NewThrottle(*p.Throttle)
		if err != nil {
			return nil, err
		}
		all = append(all, layer{"throttle", t})
	}
	limits, err := limitLayers(p.Rate, p.Concurrency)
	if err != nil {
		return nil, err
	}
	return withGates(append(all, limits...), p.Gates)
}

// attemptLayers are the gates that each attempt enters, when its endpoint is known.
func (p *ServicePolicy) attemptLayers() []layer {
	if p.Fault == nil {
		return nil
	}
	return []layer{{"cloud fault", p.Fault.PerAttempt()}}
}

// sheds are the gates that a request enters before its body is read, in order.
func (p *InboundPolicy) sheds() ([]layer, error) {
	return limitLayers(p.Rate, p.Concurrency)
}

func limitLayers(rate *resilience.RateConfig, places *resilience.ConcurrencyConfig) (all []layer, err error) {
	if rate != nil {
		l, err := resilience.NewRateLimit(*rate)
		if err != nil {
			return nil, err
		}
		all = append(all, layer{"rate", l})
	}
	if places != nil {
		l, err := resilience.NewConcurrencyLimit(*places)
		if err != nil {
			return nil, err
		}
		all = append(all, layer{"places", l})
	}
	return all, nil
}

func withGates(all []layer, gates []resilience.Gate) ([]layer, error) {
	for i, g := range gates {
		if g == nil {
			return nil, fmt.Errorf("mesh: Gates[%d] is nil; leave it out", i)
		}
		all = append(all, layer{"gates", g})
	}
	return all, nil
}

// seams lets a test see layers being entered; nil outside of tests.
type seams func(layer) resilience.Gate

func (s seams) gates(layers []layer) []resilience.Gate {
	var gates []resilience.Gate
	for _, l := range layers {
		g := l.gate
		if s != nil {
			g = s(l)
		}
		gates = append(gates, g)
	}
	return gates
}

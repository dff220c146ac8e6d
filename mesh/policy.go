package mesh

import (
	"fmt"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resilience"
)

// ServicePolicy says how calls to a service survive. The zero value is a safe
// default: 30 s for a call without a deadline, up to 3 attempts of what is safe
// to repeat, within a budget that gRPC and HTTP share.
//
// What is safe: what certainly reached no server, methods whose definition says
// so (gRPC idempotency_level, Idempotent; HTTP GET, HEAD, OPTIONS, TRACE, PUT,
// DELETE, or a header Idempotency-Key). Nothing else is ever sent twice. An
// attempt avoids the endpoints that the call has tried.
type ServicePolicy struct {
	// Timeout is the time for a whole call, attempts and waits together, HTTP bodies
	// included; an earlier deadline of the caller wins. Streams have none.
	// 0: 30 s; resilience.NoTimeout: none.
	Timeout time.Duration
	// Retry says when a call is made again. Zero: up to 3 attempts, full-jitter
	// backoff from 25 ms; Retry.Attempts 1: never.
	Retry resilience.Retry
	// Hedge says when a call is made twice at the same time. Zero: never.
	Hedge resilience.Hedge
	// Budget bounds all repeats to the service. Zero: 10 % of its calls and 10 per second.
	Budget resilience.BudgetConfig
	// Idempotent lists gRPC methods, "/pay.Pay/Get", and whole services, "/pay.Pay/",
	// that may be called twice. Empty: those that say so themselves.
	Idempotent []string
}

// maxPolicies bounds how many services have a loop of their own; URLs name
// services too.
const maxPolicies = 4096

// policies makes the calls of each service, one loop for gRPC and HTTP.
type policies struct {
	byName   map[string]ServicePolicy
	fallback ServicePolicy

	mu    sync.RWMutex
	loops map[string]*resilience.Loop
}

// newPolicies refuses a policy that makes no sense, by its service and field.
func newPolicies(fallback ServicePolicy, byName map[string]ServicePolicy) (*policies, error) {
	p := &policies{byName: byName, fallback: fallback, loops: map[string]*resilience.Loop{}}
	if _, err := fallback.loop(); err != nil {
		return nil, fmt.Errorf("mesh: Config.Policy: %w", err)
	}
	for name, policy := range byName {
		if _, err := policy.loop(); err != nil {
			return nil, fmt.Errorf("mesh: Config.Services[%q]: %w", name, err)
		}
	}
	return p, nil
}

func (p ServicePolicy) loop() (*resilience.Loop, error) {
	budget, err := resilience.NewBudget(p.Budget)
	if err != nil {
		return nil, err
	}
	return resilience.NewLoop(resilience.LoopConfig{Timeout: p.Timeout, Retry: p.Retry, Hedge: p.Hedge, Budget: budget})
}

func (p *policies) of(service string) ServicePolicy {
	if policy, ok := p.byName[service]; ok {
		return policy
	}
	return p.fallback
}

// loop is the loop of a service, the same for all its calls.
func (p *policies) loop(service string) *resilience.Loop {
	p.mu.RLock()
	l := p.loops[service]
	p.mu.RUnlock()
	if l != nil {
		return l
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, named := p.byName[service]; !named && len(p.loops) >= maxPolicies {
		service = "" // they share one
	}
	if l = p.loops[service]; l == nil {
		l, _ = p.of(service).loop() // newPolicies has checked it
		p.loops[service] = l
	}
	return l
}

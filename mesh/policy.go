package mesh

import (
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver/chain"
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
	// Classify says what attempts count as, for retries, breaker, outlier detection
	// and load alike. nil: what resilience.FromGRPC and resilience.FromHTTP say.
	Classify resilience.Classifier
	// Hedge says when a call is made twice at the same time. Zero: never.
	Hedge resilience.Hedge
	// Budget bounds all repeats to the service. Zero: 10 % of its calls and 10 per second.
	Budget resilience.BudgetConfig
	// Outlier says when an endpoint that fails more than the others is left alone for
	// a while. Zero: after 5 failures in a row, or 5 calls whose own deadline passed
	// without a byte from it, or by success rate; see its fields.
	Outlier resilience.OutlierConfig
	// Breaker says when calls keep out of a cloud in which the service fails as a
	// whole. Zero: at half of 20 or more calls within 10 s. Where no other cloud has
	// capacity, calls go on: a mesh of one cloud loses nothing by it.
	Breaker resilience.BreakerConfig
	// NoOutlier and NoBreaker turn the two off. Default false: both are on.
	NoOutlier, NoBreaker bool
	// Throttle holds calls back in this process when the service refuses many. nil:
	// never.
	Throttle *resilience.ThrottleConfig
	// Rate bounds the calls per second to the service, and holds still for as long as a
	// server that refuses load asks. nil: neither.
	Rate *resilience.RateConfig
	// Concurrency bounds the calls to the service that are under way. nil: any number.
	Concurrency *resilience.ConcurrencyConfig
	// Fault harms calls to the service, to see what happens then; its rules change
	// while the process runs. Rules that name a Cloud hit the attempts that go there,
	// others the calls as a whole. nil: none.
	Fault *resilience.Fault
	// Gates are the user's own, entered once per call, after all of the above. Empty: none.
	Gates []resilience.Gate
	// Traffic is what the service asks of its callers beyond Consul's config entries;
	// weft- keys in the Meta of its service-defaults entry go before it. It counts
	// only where chains are read, see Config.Entries. Zero: nothing.
	Traffic chain.Policy
	// Active makes one subset of the service take all traffic of its splitters: a
	// switch between blue and green that may be set at any time. nil: the weights hold.
	Active *chain.Switch
	// Idempotent lists gRPC methods, "/pay.Pay/Get", and whole services, "/pay.Pay/",
	// that may be called twice. Empty: those that say so themselves.
	Idempotent []string
}

// check refuses what makes no sense, by its field.
func (p ServicePolicy) check() error {
	budget, err := resilience.NewBudget(p.Budget)
	if err != nil {
		return err
	}
	loop, err := p.loop(budget, nil)
	if err != nil {
		return err
	}
	if _, err := resilience.NewGRPCClient(resilience.GRPCClientConfig{Loop: loop, Idempotent: p.Idempotent}); err != nil {
		return err
	}
	if _, err := resilience.NewOutlier(p.Outlier); err != nil {
		return err
	}
	if _, err := resilience.NewBreakerSet(p.Breaker, 0); err != nil {
		return err
	}
	_, err = p.callLayers()
	return err
}

func (p ServicePolicy) loop(budget *resilience.Budget, exhausted func(*resilience.Info)) (*resilience.Loop, error) {
	return resilience.NewLoop(resilience.LoopConfig{Timeout: p.Timeout, Classify: p.Classify, Retry: p.Retry, Hedge: p.Hedge, Budget: budget, OnExhausted: exhausted})
}

package mesh

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver/chain"
)

// way is how calls that are decided alike are made: all calls to a service, or,
// with a chain, those of one plan.
type way struct {
	service    string
	lane       string // of the balancer
	gates      []resilience.Gate
	loop       *resilience.Loop
	attempt    resilience.Gate // of an attempt; nil: none
	idempotent []string

	plan   *chain.Plan // nil: there is no chain
	mirror *mirror     // nil: nothing is mirrored

	rpc  rpcWay
	http sender // the gates and what is in them
}

// loopFor is the loop of a plan: what the chain says, else the caller's policy, else
// the profile.
func loopFor(policy ServicePolicy, budget *resilience.Budget, exhausted func(*resilience.Info), e *chain.Evaluator, p *chain.Plan) (*resilience.Loop, error) {
	cfg := resilience.LoopConfig{Timeout: policy.Timeout, Classify: policy.Classify, Retry: policy.Retry, Hedge: policy.Hedge, Budget: budget, OnExhausted: exhausted}
	profile := e.Profile()
	strict := profile.Name == chain.NameConsul
	switch {
	case p.RequestTimeout > 0:
		cfg.Timeout = p.RequestTimeout
	case p.RequestTimeout < 0:
		cfg.Timeout = resilience.NoTimeout
	case cfg.Timeout == 0:
		cfg.Timeout = profile.RequestTimeout
	}
	switch {
	case p.Retry != nil:
		cfg.Retry.Attempts = min(p.Retry.Attempts, 100)
		cfg.Retry.When = again(p.Retry, strict)
		cfg.Classify = asked(p.Retry, cfg.Classify)
	case cfg.Retry.Attempts == 0 && strict:
		cfg.Retry.Attempts = profile.Attempts
	}
	if h := e.Policy().Hedge; h.Enabled {
		cfg.Hedge = resilience.Hedge{Enabled: true, Delay: h.Delay, Methods: h.Methods}
	}
	return resilience.NewLoop(cfg)
}

// again repeats what a route's rule names. As Envoy under Consul it asks nothing
// else; otherwise the call must also be safe to repeat.
func again(rule *chain.RetryRule, strict bool) func(*resilience.Info, resilience.Outcome) bool {
	return func(in *resilience.Info, o resilience.Outcome) bool {
		return (strict || o.Unsent || in.Idempotent) && rule.Again(replyOf(o))
	}
}

func replyOf(o resilience.Outcome) chain.Reply {
	r := chain.Reply{NotConnected: o.Unsent && o.Code == 0, Refused: o.Unsent}
	switch {
	case o.Code >= 100:
		r.Status = int(o.Code)
	case o.Code > 0:
		r.Code = int(o.Code)
	default:
		r.Reset = o.Failed()
	}
	return r
}

// asked makes an answer that a rule wants repeated, and that is no failure of the
// endpoint, one that may be repeated.
func asked(rule *chain.RetryRule, inner resilience.Classifier) resilience.Classifier {
	return func(e resilience.Ended, o resilience.Outcome) resilience.Outcome {
		o = inner.Judge(e, o)
		if o.Class == resilience.Success && o.Code != 0 && rule.Again(replyOf(o)) {
			o.Class = resilience.Throttled // alive, and not to blame
		}
		return o
	}
}

// faultGates are the faults that a service's entry asks for.
func faultGates(f chain.Fault) ([]layer, error) {
	var all []layer
	add := func(name string, r resilience.FaultRule) error {
		g, err := resilience.NewFault(resilience.FaultConfig{Rules: []resilience.FaultRule{r}})
		all = append(all, layer{name, g})
		return err
	}
	if f.Delay > 0 && f.DelayPercent > 0 {
		if err := add("fault", resilience.FaultRule{Delay: f.Delay, Percent: f.DelayPercent}); err != nil {
			return nil, err
		}
	}
	if (f.Code != 0 || f.Status != 0) && f.AbortPercent > 0 {
		if err := add("fault", resilience.FaultRule{Code: f.Code, Status: f.Status, Percent: f.AbortPercent}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// laneConfig is how a plan's endpoints are balanced.
func laneConfig(base balancer.Config, e *chain.Evaluator, p *chain.Plan) (balancer.Config, error) {
	cfg := base
	if profile := e.Profile(); profile.Name == chain.NameConsul {
		strictBalancer(&cfg, profile)
	}
	if lb := p.LoadBalancer; lb != nil && lb.Policy != "" {
		policy, err := lbPolicy(lb)
		if err != nil {
			return cfg, err
		}
		cfg.Policy = policy
	}
	return cfg, nil
}

// strictBalancer fills in what the caller left to the profile.
func strictBalancer(cfg *balancer.Config, p chain.Profile) {
	fill := func(to *time.Duration, v time.Duration) {
		if *to == 0 {
			*to = v
		}
	}
	if cfg.Policy == nil {
		cfg.Policy = balancer.RoundRobin{}
	}
	if cfg.Overprovision == 0 {
		cfg.Overprovision = p.Overprovision
	}
	if cfg.PanicBelow == 0 {
		cfg.PanicBelow = p.PanicBelow
	}
	if cfg.SubsetSize == 0 {
		cfg.SubsetSize = p.SubsetSize
	}
	fill(&cfg.FailbackAfter, p.FailbackAfter)
	fill(&cfg.SlowStart, p.SlowStart)
}

// lbPolicy is a service-resolver's LoadBalancer as a policy of package balancer.
func lbPolicy(lb *chain.LoadBalancer) (balancer.Policy, error) {
	const most = 1 << 20
	switch lb.Policy {
	case "least_request":
		p := balancer.LeastRequest{}
		if c := lb.LeastRequestConfig; c != nil {
			p.Choices = int(min(c.ChoiceCount, 10))
		}
		return p, nil
	case "ring_hash":
		p := balancer.RingHash{LoadFactor: -1} // Envoy's default: no bound on loads
		if c := lb.RingHashConfig; c != nil {
			p.MinRing, p.MaxRing = int(min(c.MinimumRingSize, most)), int(min(c.MaximumRingSize, most))
		}
		return p, nil
	case "maglev":
		return balancer.Maglev{LoadFactor: -1}, nil
	case "random":
		return balancer.Random{}, nil
	case "round_robin":
		return balancer.RoundRobin{}, nil
	}
	return nil, fmt.Errorf("mesh: load balancer policy %q is not known", lb.Policy)
}

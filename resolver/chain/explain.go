package chain

import "time"

// Explanation is a decision step by step.
type Explanation struct {
	// Service is the called service, and Request what the chain could read of the call.
	Service string
	Request Recorded
	// Routes are the routes up to the one that matched, and Others how many come after.
	// nil: the chain has no router.
	Routes []RouteStep
	Others int
	// Splitter names the splitter, and Splits are its branches. Empty: there is none.
	Splitter string
	Splits   []SplitStep
	// How says by what the branch was picked.
	How string
	// Decision is what [Evaluator.Route] gives. Its Plan is nil if no route matched,
	// or if the branch is drawn for each call and the request says no Draw.
	Decision Decision
	// Timeout is the effective time for the call, 0 for none, and TimeoutFrom who says so.
	Timeout     time.Duration
	TimeoutFrom string
}

// RouteStep is a route that was looked at.
type RouteStep struct {
	// Index is its place in the router, and Match what it asks for.
	Index int
	Match string
	// Matched says whether it matched; Why, why not.
	Matched bool
	Why     string
}

// SplitStep is a branch of a splitter.
type SplitStep struct {
	// Target is the ID of the branch's target.
	Target string
	// Weight is its weight in percent, and Share what it gets now: of all calls, or of
	// sticky keys.
	Weight, Share float64
	// Picked says whether the call goes there; Why, why, or why not.
	Picked bool
	Why    string
}

// Explain says what becomes of a request and why. It draws nothing at random and
// changes nothing: where each call is drawn, it picks the branch at Request.Draw, or
// none without that.
func (e *Evaluator) Explain(r *Request) Explanation {
	x := Explanation{Service: e.chain.ServiceName, Request: e.Record(r)}
	rd := reading{req: r}
	var plan *Plan
	split := e.split
	switch {
	case e.only != nil:
		plan, x.How = e.only, "the chain has one way"
	case split == nil:
		plan, split = e.explainRoutes(&x, &rd)
	}
	if split != nil {
		plan = e.explainSplit(&x, split, &rd)
	}
	if plan == nil {
		return x
	}
	x.Decision.Plan = plan
	if len(plan.hash) > 0 {
		d := &x.Decision
		if d.Hash, d.HasHash, d.Cookie = hashKey(plan.hash, &rd); d.Cookie != nil {
			d.Hash, d.Cookie.Value = 0, "" // made up for each call
		}
	}
	x.Timeout, x.TimeoutFrom = e.timeout(plan)
	return x
}

// Timeout is the time for a call by a plan, 0 for none: the chain's, or the profile's.
func (e *Evaluator) Timeout(p *Plan) time.Duration {
	d, _ := e.timeout(p)
	return d
}

// ConnectTimeout is the time to make a connection by a plan: the chain's, or the
// profile's.
func (e *Evaluator) ConnectTimeout(p *Plan) time.Duration {
	if p.ConnectTimeout > 0 {
		return p.ConnectTimeout
	}
	return e.profile.ConnectTimeout
}

// Attempts is how often a call by a plan is made at most: by the chain, or by the
// profile.
func (e *Evaluator) Attempts(p *Plan) int {
	switch {
	case p.Retry == nil:
		return e.profile.Attempts
	case p.Retry.On == 0:
		return 1
	}
	return p.Retry.Attempts
}

func (e *Evaluator) timeout(p *Plan) (time.Duration, string) {
	switch {
	case p.RequestTimeout < 0:
		return 0, "the chain turns it off"
	case p.RequestTimeout > 0:
		return p.RequestTimeout, "the chain"
	}
	return e.profile.RequestTimeout, "profile " + e.profile.Name
}

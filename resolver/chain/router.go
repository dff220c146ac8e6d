package chain

import (
	"errors"
	"math/rand/v2"
)

// Options says how a chain is evaluated. The zero value is a safe default.
type Options struct {
	// Policy is the caller's own; each weft- key in the chain's ServiceMeta replaces
	// its field. Zero: what the keys say.
	Policy Policy
	// Profile is how fields count that Envoy reads in its own way. Zero: that of the
	// policy's Profile, which is safe if that is empty.
	Profile Profile
	// Guard watches the branches of splitters, across evaluators of one service. nil:
	// nobody does.
	Guard *Guard
	// Active is a switch between the branches of splitters. It goes before
	// Policy.Active. nil: none.
	Active *Switch
	// IdleTimeout means that the caller honours Plan.IdleTimeout. False: it is a problem.
	IdleTimeout bool
	// MeshGateways means that the caller dials through gateways. False: their modes
	// other than "none" are problems.
	MeshGateways bool
	// Rand draws shares, from 0 to below 1. nil: math/rand/v2.
	Rand func() float64
}

// ErrNoRoute is what a caller may say when no route matches: Envoy answers 404, or
// gRPC's Unimplemented. A router ends with a route for all paths that begin with
// "/", so it is about paths that do not, like "*".
var ErrNoRoute = errors.New("resolver/chain: no route matches")

// Evaluator decides what becomes of requests to a service. It is made once per
// chain by [New] and never changes.
type Evaluator struct {
	chain   *Chain
	policy  Policy
	profile Profile
	active  *Switch
	rand    func() float64
	names   []headerName
	sticky  []hashSource // where a sticky key comes from
	cookies []string     // that give keys

	only   *Plan // the whole chain, if it has neither router nor splitter
	simple bool  // only, and nothing of the request is looked at
	split  *splitter
	routes []route
	router string // the router's name

	mirror uint32 // of shareScale
}

// route is a compiled route. One of plan and split is set.
type route struct {
	matcher
	plan  *Plan
	split *splitter
}

// Decision is what becomes of one call.
type Decision struct {
	// Plan is what holds for all calls that are decided alike. nil: no route matched,
	// see ErrNoRoute.
	*Plan
	// Hash is the key of a hash policy; it counts only if HasHash is set.
	Hash    uint64
	HasHash bool
	// Mirror means that the call was drawn to be sent to Policy.Mirror as well.
	Mirror bool
	// Cookie is one that a hash policy asks for and the request lacks; the response
	// is to set it. nil: none.
	Cookie *Cookie
}

// Chain is the chain that is evaluated.
func (e *Evaluator) Chain() *Chain { return e.chain }

// Policy is the caller's policy with what the weft- keys say.
func (e *Evaluator) Policy() Policy { return e.policy }

// Profile is the profile in effect.
func (e *Evaluator) Profile() Profile { return e.profile }

// ReadsRequest reports whether decisions depend on the request at all. If not, a
// caller may pass an empty one.
func (e *Evaluator) ReadsRequest() bool { return !e.simple }

// ReadsHeaders reports whether decisions depend on headers.
func (e *Evaluator) ReadsHeaders() bool { return len(e.names) > 0 }

// Route decides. It is for once per call: a repeat of the call keeps the decision.
func (e *Evaluator) Route(r *Request) Decision {
	if e.simple {
		return Decision{Plan: e.only}
	}
	return e.decide(r)
}

func (e *Evaluator) decide(r *Request) (d Decision) {
	rd := reading{req: r}
	switch {
	case e.only != nil:
		d.Plan = e.only
	case e.split != nil:
		d.Plan = e.split.choose(e, &rd)
	default:
		for i := range e.routes {
			rt := &e.routes[i]
			if ok, _, _ := rt.match(&rd); !ok {
				continue
			}
			if rt.split != nil {
				d.Plan = rt.split.choose(e, &rd)
			} else {
				d.Plan = rt.plan
			}
			break
		}
	}
	if d.Plan == nil {
		return d
	}
	if len(d.hash) > 0 {
		d.Hash, d.HasHash, d.Cookie = hashKey(d.hash, &rd)
	}
	d.Mirror = e.mirror > 0 && uint32(e.draw()*shareScale) < e.mirror
	return d
}

// draw is a share from 0 to below 1.
func (e *Evaluator) draw() float64 {
	if e.rand != nil {
		return e.rand()
	}
	return rand.Float64()
}

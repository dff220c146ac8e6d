// # Decisions
//
// [Decode] reads a compiled chain from Consul; [New] makes an [Evaluator] of it, once
// per chain; [Evaluator.Route] decides once per call:
//
//	c, problems, err := chain.Decode(resp.Body)          // GET /v1/discovery-chain/web
//	e, more, err := chain.New(c, chain.Options{Guard: guard})
//	r := chain.HTTPRequest(req)                          // or GRPCRequest(ctx, method, authority)
//	d := e.Route(&r)
//	if d.Plan == nil { … }                               // ErrNoRoute
//	use(d.Target, d.Failover, d.Hash)
//	d.Done(failed, took)                                 // after each attempt to d.Target
//
// An evaluator never changes; a changed chain is a new one, and a chain that New
// refuses leaves the old one in place. What stays from one to the next is with the
// caller: the [Guard] that takes bad branches of a split out, and the [Switch]
// between blue and green. [NewFilter] says which endpoints belong to a target.
// [Evaluator.Explain] says why a request goes where it goes.
//
// Decisions are Envoy's under Consul. The README of this package lists the
// differences, the weft- keys in the Meta of service-defaults, and the two profiles.
//
// # What is not done here
//
// Nothing is sent, balanced, retried or timed: a [Plan] says what to do. Each field
// that the caller or this package cannot honour is a [Problem].
package chain

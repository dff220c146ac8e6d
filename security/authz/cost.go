package authz

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
)

// sizes bounds what a condition can be given, so that the worst case of most
// conditions is known when they are compiled. Those whose worst case is over the
// limit are counted step by step while they run, which costs several times as much.
type sizes struct{}

// EstimateCallCost implements cost.Estimator: CEL's own figures.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// EstimateSize implements cost.Estimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		return nil
	}
	limit := uint64(1 << 20) // of headers and paths: net/http's default limit
	switch path[0] {
	case "request.headers":
		if len(path) == 2 && path[1] == "@values" { // the values of one header
			limit = maxHeaderValues
		}
	case "claims":
		limit = maxToken
	case "caller.id", "caller.trust_domain", "caller.partition", "caller.namespace", "caller.datacenter", "caller.service":
		limit = 2048
	case "caller.cloud", "caller.region", "caller.zone", "service.name", "service.tags", "service.metadata":
		limit = 4096 // by the configuration
	}
	return &cost.SizeEstimate{Max: limit}
}

// bounded reports whether the worst case of an expression is within the limit.
func (c *conditions) bounded(ast *cel.Ast) bool {
	est, err := c.env.EstimateCost(ast, sizes{})
	return err == nil && est.Max <= maxConditionCost
}

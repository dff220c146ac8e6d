package chain

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"

	"github.com/weft-mesh/weft/resolver"
)

// Bounds of a subset's filter: of its text, and of the parser's steps.
const (
	maxSubsetFilter = 8192
	maxSubsetSteps  = 200_000
)

// Filter is a compiled subset filter of a target: which endpoints belong to it. It
// evaluates bexpr as Consul does, on what an endpoint carries. The zero value is
// nothing; make it with [NewFilter].
type Filter struct {
	expr     string
	match    func(*resolver.Endpoint) bool // nil: everything, or nothing if remote
	remote   bool
	residual Residency
}

// errFilter is the reason that a filter cannot be decided here.
var errFilter = errors.New("it is not decided here")

// NewFilter compiles the subset of a target, and where its endpoints may be.
//
// A filter that cannot be decided on what an endpoint carries is a problem, and
// Remote: it is left to Consul, as ?filter= of the health query. Without that it
// matches nothing, so that a call does not reach an instance outside of its subset.
func NewFilter(t *Target, may Residency) (*Filter, []Problem) {
	f := &Filter{expr: t.Subset.Filter, residual: may}
	if strings.TrimSpace(f.expr) == "" {
		return f, nil
	}
	var bad problems
	field := "Subsets[" + t.ServiceSubset + "].Filter"
	fail := func(why string) (*Filter, []Problem) {
		f.remote = true
		bad.add(kindResolver, t.Service, field, clip(why)+"; the filter is left to Consul, and matches nothing where Consul is not asked with it")
		return f, bad.list
	}
	if len(f.expr) > maxSubsetFilter {
		return fail(fmt.Sprintf("%d bytes, over %d", len(f.expr), maxSubsetFilter))
	}
	if err := brackets(f.expr); err != nil {
		return fail("it is no bexpr expression: " + err.Error())
	}
	ast, err := grammar.Parse("", []byte(f.expr), grammar.MaxExpressions(maxSubsetSteps))
	if err != nil {
		return fail("it is no bexpr expression: " + err.Error())
	}
	e, ok := ast.(grammar.Expression)
	if !ok {
		return fail("it is no bexpr expression")
	}
	c := filterCompiler{t: t}
	match, err := c.expression(e)
	if err != nil {
		return fail(err.Error())
	}
	f.match = match
	if c.dialled {
		bad.add(kindResolver, t.Service, field, "Service.Address and Service.Port are compared with the address that is dialled, which may be another one of the instance")
	}
	return f, bad.list
}

// Remote reports whether the filter must be decided by Consul: give Expression as
// ?filter= to the query for the target's endpoints, and use [Filter.Trust].
func (f *Filter) Remote() bool { return f.remote }

// Expression is the filter as it was written.
func (f *Filter) Expression() string { return f.expr }

// Trust is the filter for endpoints that Consul has filtered by Expression.
func (f *Filter) Trust() *Filter {
	return &Filter{expr: f.expr, residual: f.residual}
}

// Match reports whether an endpoint belongs to the subset, whatever its health.
func (f *Filter) Match(e *resolver.Endpoint) bool {
	if f.remote {
		return false
	}
	return f.match == nil || f.match(e)
}

// Allowed reports whether an endpoint is where it may be.
func (f *Filter) Allowed(e *resolver.Endpoint) bool { return f.residual.Allows(e.Locality) }

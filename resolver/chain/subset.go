package chain

import (
	"errors"
	"fmt"
	"regexp"
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
	passing  bool
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
	f := &Filter{expr: t.Subset.Filter, passing: t.Subset.OnlyPassing, residual: may}
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
	return &Filter{expr: f.expr, passing: f.passing, residual: f.residual}
}

// All reports whether every endpoint belongs to the subset as it is.
func (f *Filter) All() bool {
	return !f.remote && f.match == nil && !f.passing && f.residual.Any()
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

type predicate = func(*resolver.Endpoint) bool

// filterCompiler makes a predicate of a filter's syntax tree.
type filterCompiler struct {
	t       *Target
	dialled bool
}

func (c *filterCompiler) expression(e grammar.Expression) (predicate, error) {
	switch e := e.(type) {
	case *grammar.UnaryExpression:
		in, err := c.expression(e.Operand)
		if err != nil {
			return nil, err
		}
		return func(ep *resolver.Endpoint) bool { return !in(ep) }, nil
	case *grammar.BinaryExpression:
		l, err := c.expression(e.Left)
		if err != nil {
			return nil, err
		}
		r, err := c.expression(e.Right)
		if err != nil {
			return nil, err
		}
		if e.Operator == grammar.BinaryOpAnd {
			return func(ep *resolver.Endpoint) bool { return l(ep) && r(ep) }, nil
		}
		return func(ep *resolver.Endpoint) bool { return l(ep) || r(ep) }, nil
	case *grammar.MatchExpression:
		return c.comparison(e)
	}
	return nil, fmt.Errorf("%w: any and all are not known to Consul", errFilter)
}

// not is the opposite of an operator that has one.
func not(op grammar.MatchOperator) (grammar.MatchOperator, bool) {
	switch op {
	case grammar.MatchNotEqual:
		return grammar.MatchEqual, true
	case grammar.MatchNotIn, grammar.MatchNotContains:
		return grammar.MatchIn, true
	case grammar.MatchContains:
		return grammar.MatchIn, false
	case grammar.MatchIsNotEmpty:
		return grammar.MatchIsEmpty, true
	case grammar.MatchNotMatches:
		return grammar.MatchMatches, true
	}
	return op, false
}

func (c *filterCompiler) comparison(e *grammar.MatchExpression) (predicate, error) {
	if e.Selector.Type != grammar.SelectorTypeBexpr {
		return nil, fmt.Errorf("%w: Consul takes no JSON pointers", errFilter)
	}
	s, err := c.selector(e.Selector.Path)
	if err != nil {
		return nil, err
	}
	op, negate := not(e.Operator)
	raw := ""
	if e.Value != nil {
		raw = e.Value.Raw
	}
	switch op {
	case grammar.MatchEqual, grammar.MatchIn, grammar.MatchIsEmpty, grammar.MatchMatches:
	default:
		return nil, fmt.Errorf("%w: Consul does not know the operator %q", errFilter, op)
	}
	p, err := s.compare(op, raw)
	if err != nil {
		return nil, err
	}
	if s.lookup == nil {
		if negate {
			return func(ep *resolver.Endpoint) bool { return !p(ep) }, nil
		}
		return p, nil
	}
	// A key that is not there. Consul's version of bexpr takes it for a match of
	// everything but these three, so that a missing key also "matches" a pattern.
	absent := true
	switch e.Operator {
	case grammar.MatchEqual, grammar.MatchIn, grammar.MatchContains, grammar.MatchIsNotEmpty:
		absent = false
	}
	return func(ep *resolver.Endpoint) bool {
		if _, ok := s.lookup(ep); !ok {
			return absent
		}
		return p(ep) != negate
	}, nil
}

// maxFilterDepth bounds how deep brackets are nested.
const maxFilterDepth = 16

// brackets finds what the parser takes exponential time to find.
func brackets(s string) error {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '`':
			end := strings.IndexByte(s[i+1:], s[i])
			if end < 0 {
				return errors.New("a quote is not closed")
			}
			i += 1 + end
		case '(':
			if depth++; depth > maxFilterDepth {
				return fmt.Errorf("brackets are nested more than %d deep", maxFilterDepth)
			}
		case ')':
			if depth--; depth < 0 {
				return errors.New("a bracket is closed that was not opened")
			}
		}
	}
	if depth > 0 {
		return errors.New("a bracket is not closed")
	}
	return nil
}

func compilePattern(raw string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFilter, err)
	}
	return re, nil
}

package chain

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"

	"github.com/weft-mesh/weft/resolver"
)

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

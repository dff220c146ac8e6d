package bexpr

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"
)

// operation is what a comparison does with what it selects.
type operation struct {
	op     grammar.MatchOperator // MatchEqual, MatchIn, MatchIsEmpty or MatchMatches
	name   string                // as it was written
	negate bool
	value  string
	// absent is the result for a key that is not there. Consul takes that for a match
	// of all but three operators, so that a missing key "matches" any pattern.
	absent bool
}

func operationOf(e *grammar.MatchExpression) (operation, error) {
	o := operation{op: e.Operator, name: strings.ToLower(e.Operator.String()), absent: true}
	if e.Value != nil {
		o.value = e.Value.Raw
	}
	switch e.Operator {
	case grammar.MatchEqual, grammar.MatchIn, grammar.MatchContains, grammar.MatchIsNotEmpty:
		o.absent = false
	}
	switch e.Operator {
	case grammar.MatchEqual, grammar.MatchIn, grammar.MatchIsEmpty, grammar.MatchMatches:
	case grammar.MatchContains:
		o.op = grammar.MatchIn
	case grammar.MatchNotEqual:
		o.op, o.negate = grammar.MatchEqual, true
	case grammar.MatchNotIn, grammar.MatchNotContains:
		o.op, o.negate = grammar.MatchIn, true
	case grammar.MatchIsNotEmpty:
		o.op, o.negate = grammar.MatchIsEmpty, true
	case grammar.MatchNotMatches:
		o.op, o.negate = grammar.MatchMatches, true
	default:
		return o, fmt.Errorf("operator %q is not known to Consul", o.name)
	}
	return o, nil
}

// on is the operation on a field of type t.
func (o operation) on(t reflect.Type) (predicate, error) {
	if t.Kind() == reflect.String {
		is, err := o.text()
		return func(v reflect.Value) bool { return is(v.String()) }, err
	}
	p, err := o.plain(t)
	if err != nil || !o.negate {
		return p, err
	}
	return func(v reflect.Value) bool { return !p(v) }, nil
}

// text is the operation on a string.
func (o operation) text() (func(string) bool, error) {
	value, want := o.value, !o.negate
	switch o.op {
	case grammar.MatchEqual:
		return func(s string) bool { return (s == value) == want }, nil
	case grammar.MatchIn:
		return func(s string) bool { return strings.Contains(s, value) == want }, nil
	case grammar.MatchMatches:
		re, err := regexp.Compile(value)
		if err != nil {
			return nil, fmt.Errorf("%w, as a pattern for", err)
		}
		return func(s string) bool { return re.MatchString(s) == want }, nil
	}
	return nil, o.misfit()
}

func (o operation) misfit() error { return fmt.Errorf("operator %q does not fit", o.name) }

func (o operation) plain(t reflect.Type) (predicate, error) {
	value := o.value
	switch kind := t.Kind(); {
	case kind == reflect.Int && o.op == grammar.MatchEqual:
		n, err := strconv.ParseInt(value, 0, 0)
		if err != nil {
			return nil, fmt.Errorf("%q is no number to compare with", clip(value))
		}
		return func(v reflect.Value) bool { return v.Int() == n }, nil
	case kind == reflect.Bool && o.op == grammar.MatchEqual:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%q is not true or false, to compare with", clip(value))
		}
		return func(v reflect.Value) bool { return v.Bool() == b }, nil
	case (kind == reflect.Slice || kind == reflect.Map) && o.op == grammar.MatchIsEmpty:
		return func(v reflect.Value) bool { return v.Len() == 0 }, nil
	case kind == reflect.Map && o.op == grammar.MatchIn:
		key := reflect.ValueOf(value)
		return func(v reflect.Value) bool { return v.MapIndex(key).IsValid() }, nil
	case kind == reflect.Slice && t.Elem().Kind() == reflect.String && o.op == grammar.MatchIn:
		return func(v reflect.Value) bool {
			for i := range v.Len() {
				if v.Index(i).String() == value {
					return true
				}
			}
			return false
		}, nil
	}
	return nil, o.misfit()
}

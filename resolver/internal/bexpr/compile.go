package bexpr

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"
)

// Filter is a compiled filter.
type Filter struct {
	match predicate
	reads []string
}

// predicate decides about a value, which is of the type that it was made for.
type predicate = func(reflect.Value) bool

// Compile makes a filter of an expression, or says why Consul would refuse it.
func Compile(expr string) (*Filter, error) {
	tree, err := Parse(expr)
	if err != nil {
		return nil, err
	}
	f := &Filter{}
	if f.match, err = f.expression(tree); err != nil {
		return nil, err
	}
	return f, nil
}

// Match reports whether the filter selects an instance.
func (f *Filter) Match(in *Instance) bool { return f.match(reflect.ValueOf(in).Elem()) }

// Reads reports whether is holds for a field that the filter reads, such as
// "Checks.Status". A key of a map is not part of it: "Service.Meta" is, whatever the key.
func (f *Filter) Reads(is func(field string) bool) bool {
	for _, field := range f.reads {
		if is(field) {
			return true
		}
	}
	return false
}

func (f *Filter) expression(e grammar.Expression) (predicate, error) {
	switch e := e.(type) {
	case *grammar.UnaryExpression:
		in, err := f.expression(e.Operand)
		if err != nil {
			return nil, err
		}
		return func(v reflect.Value) bool { return !in(v) }, nil
	case *grammar.BinaryExpression:
		l, err := f.expression(e.Left)
		if err != nil {
			return nil, err
		}
		r, err := f.expression(e.Right)
		if err != nil {
			return nil, err
		}
		if e.Operator == grammar.BinaryOpAnd {
			return func(v reflect.Value) bool { return l(v) && r(v) }, nil
		}
		return func(v reflect.Value) bool { return l(v) || r(v) }, nil
	case *grammar.MatchExpression:
		return f.comparison(e)
	}
	return nil, errors.New("any and all are not known to Consul")
}

func (f *Filter) comparison(e *grammar.MatchExpression) (predicate, error) {
	if e.Selector.Type != grammar.SelectorTypeBexpr {
		return nil, errors.New("a JSON pointer, which Consul does not take")
	}
	o, err := operationOf(e)
	if err != nil {
		return nil, err
	}
	s := selection{op: o, path: e.Selector.Path}
	p, err := s.at(reflect.TypeFor[Instance](), s.path)
	if err != nil {
		return nil, err
	}
	f.reads = append(f.reads, strings.Join(s.fields, "."))
	return p, nil
}

// selection is the way from an instance to what a comparison is about.
type selection struct {
	op     operation
	path   []string
	fields []string // of path, those that are no keys of maps
}

// at decides about a value of type t, by what path leads to from it. In a list that is
// any of its elements: what is negated is the comparison with each. A key that a map
// does not have decides by itself.
func (s *selection) at(t reflect.Type, path []string) (predicate, error) {
	if len(path) == 0 {
		p, err := s.op.on(t)
		if err != nil {
			return nil, fmt.Errorf("%w %s", err, clip(strings.Join(s.path, ".")))
		}
		return p, nil
	}
	switch {
	case t.Kind() == reflect.Struct:
		f, ok := t.FieldByName(path[0])
		if !ok {
			break
		}
		s.fields = append(s.fields, f.Name)
		in, err := s.at(f.Type, path[1:])
		if err != nil {
			return nil, err
		}
		i := f.Index[0]
		return func(v reflect.Value) bool { return in(v.Field(i)) }, nil
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		in, err := s.at(t.Elem(), path)
		if err != nil {
			return nil, err
		}
		return func(v reflect.Value) bool {
			for i := range v.Len() {
				if in(v.Index(i)) {
					return true
				}
			}
			return false
		}, nil
	case t == reflect.TypeFor[map[string]string]() && len(path) == 1:
		return s.entry(path[0])
	case t.Kind() == reflect.Map:
		in, err := s.at(t.Elem(), path[1:])
		if err != nil {
			return nil, err
		}
		return s.under(path[0], in), nil
	}
	return nil, fmt.Errorf("an instance has no field %s", clip(strings.Join(s.path, ".")))
}

// under decides about a map by what it has under a key.
func (s *selection) under(key string, in predicate) predicate {
	k, absent := reflect.ValueOf(key), s.op.absent
	return func(v reflect.Value) bool {
		if e := v.MapIndex(k); e.IsValid() {
			return in(e)
		}
		return absent
	}
}

// entry is at, for the maps that most filters read: without an allocation.
func (s *selection) entry(key string) (predicate, error) {
	in, err := s.op.text()
	if err != nil {
		return nil, fmt.Errorf("%w %s", err, clip(strings.Join(s.path, ".")))
	}
	absent := s.op.absent
	return func(v reflect.Value) bool {
		if e, ok := v.Interface().(map[string]string)[key]; ok {
			return in(e)
		}
		return absent
	}, nil
}

// clip bounds foreign text that goes into an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

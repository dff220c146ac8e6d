package chain

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// splitterLevels is how many splitters are in each other at most in a chain.
func splitterLevels(s *EntrySet, name string) int {
	depth := 0
	var walk func(name string, d int)
	walk = func(name string, d int) {
		sp := s.splitter(name)
		if sp == nil || d > 8 {
			return
		}
		depth = max(depth, d)
		names, _ := related(sp)
		for _, n := range names {
			if n != name {
				walk(n, d+1)
			}
		}
	}
	walk(name, 1)
	if r := s.router(name); r != nil {
		names, _ := related(r)
		for _, n := range names {
			walk(n, 1)
		}
	}
	return depth
}

// decodeConsulChain reads Consul's answer, of which nothing may be lost.
func decodeConsulChain(t *testing.T, reply string) *Chain {
	c, problems, err := Decode(strings.NewReader(reply))
	if err != nil {
		t.Error(err)
		return &Chain{}
	}
	for _, p := range problems {
		if strings.Contains(p.Why, "not known") {
			t.Errorf("Consul's chain has a field that is lost: %v", p)
		}
	}
	return withoutEmpty(c)
}

// withoutEmpty is a copy in which empty lists and maps are nil.
func withoutEmpty(c *Chain) *Chain {
	c = cloneOf(c)
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			if v.Len() == 0 {
				v.SetZero()
			}
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			if v.Len() == 0 {
				v.SetZero()
				return
			}
			for _, k := range v.MapKeys() {
				if item := v.MapIndex(k); item.Kind() == reflect.Pointer {
					walk(item)
				}
			}
		}
	}
	walk(reflect.ValueOf(c).Elem())
	return c
}

func indent(c *Chain) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	_ = e.Encode(encodeValue(reflect.ValueOf(c)))
	return b.String()
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// rounded is theirs with the weights of ours where the two differ by no more than
// rounding at each level of splitters makes.
func rounded(theirs, ours *Chain) *Chain {
	const most = 0.05
	theirs = cloneOf(theirs)
	for id, n := range theirs.Nodes {
		o := ours.Nodes[id]
		if o == nil || len(o.Splits) != len(n.Splits) {
			continue
		}
		for i, s := range n.Splits {
			if math.Abs(float64(s.Weight-o.Splits[i].Weight)) <= most {
				s.Weight = o.Splits[i].Weight
			}
			d, od := s.Definition, o.Splits[i].Definition
			if d != nil && od != nil && math.Abs(float64(d.Weight-od.Weight)) <= most {
				d.Weight = od.Weight
			}
		}
	}
	return theirs
}

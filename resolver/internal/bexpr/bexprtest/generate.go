// Package bexprtest makes filters for tests: of all fields and operators that Consul
// has, with values that the given instances have, alone and joined.
package bexprtest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/resolver/internal/bexpr"
)

// Generator makes filters about instances.
type Generator struct {
	// Rand draws; it must be set.
	Rand *rand.Rand

	values map[string][]string // by field: what instances have there
	keys   map[string][]string // of maps
}

// New is a generator that knows what the instances have.
func New(r *rand.Rand, instances []*bexpr.Instance) *Generator {
	g := &Generator{Rand: r, values: map[string][]string{}, keys: map[string][]string{}}
	for _, in := range instances {
		g.learn("", reflect.ValueOf(in).Elem())
	}
	return g
}

func (g *Generator) learn(at string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			g.learn(at+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			g.learn(at, v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if !slices.Contains(g.keys[at], k.String()) {
				g.keys[at] = append(g.keys[at], k.String())
				slices.Sort(g.keys[at])
			}
			g.learn(at, v.MapIndex(k))
		}
	default:
		if s := fmt.Sprint(v.Interface()); !slices.Contains(g.values[at], s) {
			g.values[at] = append(g.values[at], s)
			slices.Sort(g.values[at])
		}
	}
}

// Fields are all fields of an instance, as selectors.
func (g *Generator) Fields() (all []string) {
	var walk func(at, sel string, t reflect.Type)
	walk = func(at, sel string, t reflect.Type) {
		switch t.Kind() {
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				walk(at+"."+f.Name, strings.TrimPrefix(sel+"."+f.Name, "."), f.Type)
			}
			return
		case reflect.Slice:
			if t.Elem().Kind() == reflect.Struct {
				walk(at, sel, t.Elem())
			}
		case reflect.Map:
			for _, k := range append([]string{"none"}, g.keys[at]...) {
				walk(at, sel+"["+strconv.Quote(k)+"]", t.Elem())
			}
		}
		all = append(all, sel)
	}
	walk("", "", reflect.TypeFor[bexpr.Instance]())
	return all
}

// One is a comparison of a field.
func (g *Generator) One(sel string) string {
	at, kind := g.kind(sel)
	value := g.value(at, kind)
	switch kind {
	case reflect.Slice, reflect.Map:
		return g.pick(sel+" is empty", sel+" is not empty", value+" in "+sel, value+" not in "+sel, sel+" contains "+value, sel+" not contains "+value)
	case reflect.Struct:
		return g.pick(sel+" is empty", sel+" is not empty")
	case reflect.String:
		if g.Rand.IntN(3) > 0 {
			part := g.part(at)
			return g.pick(part+" in "+sel, part+" not in "+sel, sel+" contains "+part, sel+" not contains "+part,
				sel+" matches "+g.pattern(at), sel+" not matches "+g.pattern(at))
		}
	}
	return g.pick(sel+" == "+value, sel+" != "+value)
}

// Joined is one to four comparisons of fields drawn from all.
func (g *Generator) Joined(all []string) string {
	e := g.One(all[g.Rand.IntN(len(all))])
	for range g.Rand.IntN(4) {
		o := g.One(all[g.Rand.IntN(len(all))])
		e = g.pick(e+" and "+o, e+" or "+o, "not ("+e+") or "+o, "("+e+") and not "+o, "not "+o+" and ("+e+")")
	}
	return e
}

// kind follows a selector; the kind of a list of lists of fields is Struct.
func (g *Generator) kind(sel string) (at string, k reflect.Kind) {
	t := reflect.TypeFor[bexpr.Instance]()
	rest := sel
	for {
		switch {
		case strings.HasPrefix(rest, "["):
			_, rest, _ = strings.Cut(rest, "]")
			t = t.Elem()
		case rest != "":
			rest = strings.TrimPrefix(rest, ".")
			n := strings.IndexAny(rest+".", ".[")
			if t.Kind() == reflect.Slice {
				t = t.Elem()
			}
			f, _ := t.FieldByName(rest[:n])
			at, t, rest = at+"."+rest[:n], f.Type, rest[n:]
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
			return at, reflect.Struct
		default:
			return at, t.Kind()
		}
	}
}

func (g *Generator) pick(of ...string) string { return of[g.Rand.IntN(len(of))] }

func (g *Generator) raw(at string, kind reflect.Kind) string {
	from := g.values[at]
	if kind == reflect.Map {
		from = g.keys[at]
	}
	if len(from) == 0 || g.Rand.IntN(8) == 0 {
		return g.pick("", "0", "1", "true", "web", "/x", "none")
	}
	return from[g.Rand.IntN(len(from))]
}

func (g *Generator) value(at string, kind reflect.Kind) string {
	v := g.raw(at, kind)
	switch {
	case kind == reflect.Int && strings.Trim(v, "0123456789") != "" || kind == reflect.Int && v == "":
		v = "0"
	case kind == reflect.Bool && v != "true" && v != "false":
		v = "true"
	}
	return quoted(g.Rand, v)
}

// part is a part of a value.
func (g *Generator) part(at string) string {
	v := g.raw(at, reflect.String)
	if len(v) > 2 && g.Rand.IntN(2) == 0 {
		v = v[len(v)/3 : len(v)-len(v)/3]
	}
	return quoted(g.Rand, v)
}

func (g *Generator) pattern(at string) string {
	v := g.raw(at, reflect.String)
	if len(v) > 1 {
		v = v[:1+g.Rand.IntN(len(v)-1)]
	}
	return quoted(g.Rand, g.pick("^", "", ".*", "[^x]")+strings.NewReplacer(".", `\.`, "(", `\(`, ")", `\)`, "[", `\[`, "+", `\+`).Replace(v)+g.pick("", "$", ".?"))
}

func quoted(r *rand.Rand, v string) string {
	bare := v != "" && strings.IndexFunc(v, func(c rune) bool { return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') }) < 0
	number := v != "" && len(v) < 18 && v[0] != '0' && strings.Trim(v, "0123456789") == "" || v == "0"
	switch n := r.IntN(3); {
	case n == 0 && (bare || number):
		return v
	case n == 1 && !strings.ContainsAny(v, "`\r"):
		return "`" + v + "`"
	case strings.Contains(v, `"`):
		return "`" + strings.ReplaceAll(v, "`", "") + "`"
	}
	return strconv.Quote(v)
}

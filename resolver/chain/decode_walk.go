package chain

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// walk fills structs from JSON by the names of their fields, exactly as written.
// A field that no struct has is a problem, one of the wrong type an error.
type walk struct {
	name string // of the service
	p    problems
}

func (w *walk) value(at string, from any, to reflect.Value) error {
	if from == nil {
		return nil // as Go encodes what is empty
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		return w.duration(at, from, to)
	}
	switch to.Kind() {
	case reflect.Pointer:
		v := reflect.New(to.Type().Elem())
		if err := w.value(at, from, v.Elem()); err != nil {
			return err
		}
		to.Set(v)
		return nil
	case reflect.Struct:
		return w.object(at, from, to)
	case reflect.Map:
		return w.table(at, from, to)
	case reflect.Slice:
		list, ok := from.([]any)
		if !ok {
			return mistyped(at, from, "a list")
		}
		v := reflect.MakeSlice(to.Type(), len(list), len(list))
		for i, e := range list {
			if err := w.value(at+"["+strconv.Itoa(i)+"]", e, v.Index(i)); err != nil {
				return err
			}
		}
		to.Set(v)
		return nil
	}
	return scalar(at, from, to)
}

func (w *walk) object(at string, from any, to reflect.Value) error {
	m, ok := from.(map[string]any)
	if !ok {
		return mistyped(at, from, "an object")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		f := to.FieldByName(k)
		switch {
		case f.IsValid():
			if err := w.value(at+"."+k, m[k], f); err != nil {
				return err
			}
		case !moot(k) && !empty(m[k]):
			w.p.add(kindChain, w.name, at+"."+k, why(k))
		}
	}
	return nil
}

func (w *walk) table(at string, from any, to reflect.Value) error {
	m, ok := from.(map[string]any)
	if !ok {
		return mistyped(at, from, "an object")
	}
	v := reflect.MakeMapWithSize(to.Type(), len(m))
	for k, e := range m {
		elem := reflect.New(to.Type().Elem()).Elem()
		if err := w.value(at+"["+k+"]", e, elem); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(k), elem)
	}
	to.Set(v)
	return nil
}

// duration takes both of Consul's forms: "4s" and nanoseconds.
func (w *walk) duration(at string, from any, to reflect.Value) error {
	switch v := from.(type) {
	case string:
		if v == "" {
			return nil
		}
		d, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("resolver/chain: %s is %q, not a duration", clip(at), clip(v))
		}
		to.SetInt(int64(d))
		return nil
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return fmt.Errorf("resolver/chain: %s is %s, not a number of nanoseconds", clip(at), clip(v.String()))
		}
		to.SetInt(n)
		return nil
	}
	return mistyped(at, from, "a duration")
}

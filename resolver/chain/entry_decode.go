package chain

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	maxDepth = 64      // of lists and mappings in each other
	maxItems = 1 << 14 // of one list or mapping
)

// treeDecoder fills structs from a tree of map[string]any, []any, string,
// json.Number, bool and nil. It takes what Consul takes: keys in any case, with
// or without "_"; a single value where a list is wanted, and the reverse; text
// where a number or a truth value is wanted, and the reverse.
type treeDecoder struct {
	kind, name string
	problems   []Problem
	more       int // problems over maxProblems
}

func (d *treeDecoder) report(path, why string) {
	if len(d.problems) >= maxProblems {
		d.more++
		return
	}
	d.problems = append(d.problems, Problem{Kind: d.kind, Name: d.name, Field: path, Why: why})
}

func (d *treeDecoder) fail(path, format string, args ...any) error {
	return &EntryError{Kind: d.kind, Name: d.name, Field: path, Why: fmt.Sprintf(format, args...)}
}

// value puts v into dst. A nil v leaves it as it is.
func (d *treeDecoder) value(path string, v any, dst reflect.Value) error {
	if v == nil {
		return nil
	}
	if list, ok := v.([]any); ok && len(list) == 1 && dst.Kind() != reflect.Slice && dst.Kind() != reflect.Interface {
		return d.value(path, list[0], dst) // HCL writes a block as a list of one
	}
	if dst.Type() == reflect.TypeFor[time.Duration]() {
		return d.duration(path, v, dst)
	}
	switch dst.Kind() {
	case reflect.Pointer:
		p := reflect.New(dst.Type().Elem())
		if err := d.value(path, v, p.Elem()); err != nil {
			return err
		}
		dst.Set(p)
		return nil
	case reflect.Struct:
		return d.structure(path, v, dst)
	case reflect.Map:
		return d.mapping(path, v, dst)
	case reflect.Slice:
		return d.list(path, v, dst)
	case reflect.Interface:
		dst.Set(reflect.ValueOf(plainTree(v)))
		return nil
	}
	return d.scalar(path, v, dst)
}

func (d *treeDecoder) structure(path string, v any, dst reflect.Value) error {
	m, ok := v.(map[string]any)
	if !ok {
		return d.fail(path, "%s where a mapping of keys to values is needed", describeTree(v))
	}
	t := dst.Type()
	from := make(map[int]string, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		i, ok := fieldOf(t, key)
		if !ok {
			if why := d.unknown(t, key, m[key]); why != "" {
				d.report(fieldPath(path, key), why)
			}
			continue
		}
		if other, ok := from[i]; ok {
			return d.fail(fieldPath(path, t.Field(i).Name), "is set twice, as %q and as %q", clip(other), clip(key))
		}
		from[i] = key
	}
	for i := range t.NumField() {
		key, ok := from[i]
		if !ok {
			continue
		}
		f := t.Field(i)
		if err := d.value(fieldPath(path, f.Name), m[key], dst.Field(i)); err != nil {
			return err
		}
		if why := unhonoured(f, t, dst.Field(i)); why != "" {
			d.report(fieldPath(path, f.Name), why)
		}
	}
	return nil
}

// fieldOf finds the field of t that a key names.
func fieldOf(t reflect.Type, key string) (int, bool) {
	key = strings.ReplaceAll(key, "_", "")
	for i := range t.NumField() {
		if strings.EqualFold(t.Field(i).Name, key) {
			return i, true
		}
	}
	return 0, false
}

// unhonoured says why a field that is set has no effect; empty: it has.
func unhonoured(f reflect.StructField, in reflect.Type, v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	switch {
	case f.Type == reflect.TypeFor[*FailoverPolicy]() && v.Elem().IsZero():
		return ""
	case f.Type == reflect.TypeFor[*FailoverPolicy]():
		return "needs Consul Enterprise"
	case in == reflect.TypeFor[RouteDestination]() || in == reflect.TypeFor[ServiceSplit]():
		if (f.Name == "Namespace" || f.Name == "Partition") && v.String() != "default" {
			return "needs Consul Enterprise"
		}
	}
	return f.Tag.Get("problem")
}

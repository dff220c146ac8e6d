package chain

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

func (d *treeDecoder) mapping(path string, v any, dst reflect.Value) error {
	var parts []map[string]any
	switch v := v.(type) {
	case map[string]any:
		parts = append(parts, v)
	case []any: // repeated HCL blocks
		for _, item := range v {
			m, ok := item.(map[string]any)
			if !ok {
				return d.fail(path, "%s in a list where mappings of keys to values are needed", describeTree(item))
			}
			parts = append(parts, m)
		}
	default:
		return d.fail(path, "%s where a mapping of keys to values is needed", describeTree(v))
	}
	out := reflect.MakeMap(dst.Type())
	for _, m := range parts {
		if out.Len()+len(m) > maxItems {
			return d.fail(path, "over %d keys", maxItems)
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			k := reflect.ValueOf(key)
			at := fmt.Sprintf("%s[%q]", path, key)
			if out.MapIndex(k).IsValid() {
				return d.fail(at, "is set twice")
			}
			item := reflect.New(dst.Type().Elem()).Elem()
			if err := d.value(at, m[key], item); err != nil {
				return err
			}
			out.SetMapIndex(k, item)
		}
	}
	dst.Set(out)
	return nil
}

func (d *treeDecoder) list(path string, v any, dst reflect.Value) error {
	items, ok := v.([]any)
	if m, isMap := v.(map[string]any); isMap && len(m) == 0 {
		items, ok = nil, true
	}
	if !ok {
		items = []any{v} // a list of one may be written without brackets
	}
	if len(items) > maxItems {
		return d.fail(path, "%d items, over %d", len(items), maxItems)
	}
	out := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		if err := d.value(fmt.Sprintf("%s[%d]", path, i), item, out.Index(i)); err != nil {
			return err
		}
		if p := out.Index(i); p.Kind() == reflect.Pointer && p.IsNil() {
			return d.fail(fmt.Sprintf("%s[%d]", path, i), "is null")
		}
	}
	dst.Set(out)
	return nil
}

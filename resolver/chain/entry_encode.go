package chain

import (
	"encoding/json"
	"reflect"
	"time"
)

// EncodeEntry is an entry as JSON, as PUT /v1/config of Consul takes it and
// [DecodeEntries] reads it.
func EncodeEntry(e Entry) ([]byte, error) {
	if err := checkPresent(e); err != nil {
		return nil, err
	}
	m := encodeValue(reflect.ValueOf(e).Elem()).(map[string]any)
	m["Kind"] = e.EntryKind()
	return json.Marshal(m)
}

// encodeValue leaves out what is zero in a struct, and writes durations as text.
func encodeValue(v reflect.Value) any {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return encodeValue(v.Elem())
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				m[v.Type().Field(i).Name] = encodeValue(f)
			}
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = encodeValue(v.Index(i))
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for _, k := range v.MapKeys() {
			m[k.String()] = encodeValue(v.MapIndex(k))
		}
		return m
	}
	return v.Interface()
}

// cloneEntry is a deep copy.
func cloneEntry(e Entry) Entry { return cloneValue(reflect.ValueOf(e)).Interface().(Entry) }

// cloneOf is a deep copy.
func cloneOf[T any](p *T) *T { return cloneValue(reflect.ValueOf(p)).Interface().(*T) }

func cloneValue(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(cloneValue(v.Elem()))
		}
	case reflect.Interface:
		if !v.IsNil() {
			out.Set(cloneValue(v.Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(cloneValue(v.Field(i)))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(cloneValue(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for _, k := range v.MapKeys() {
				out.SetMapIndex(k, cloneValue(v.MapIndex(k)))
			}
		}
	default:
		out.Set(v)
	}
	return out
}

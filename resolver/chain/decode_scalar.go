package chain

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

func scalar(at string, from any, to reflect.Value) error {
	switch v := from.(type) {
	case string:
		if to.Kind() == reflect.String {
			to.SetString(v)
			return nil
		}
	case bool:
		if to.Kind() == reflect.Bool {
			to.SetBool(v)
			return nil
		}
	case json.Number:
		switch to.Kind() {
		case reflect.Float32:
			f, err := strconv.ParseFloat(v.String(), 32)
			if err != nil {
				return mistyped(at, from, "a number that a float32 can hold")
			}
			to.SetFloat(f)
			return nil
		case reflect.Uint32, reflect.Uint64:
			n, err := strconv.ParseUint(v.String(), 10, to.Type().Bits())
			if err != nil {
				return mistyped(at, from, "a whole number of 0 or more")
			}
			to.SetUint(n)
			return nil
		}
	}
	return mistyped(at, from, "a "+to.Kind().String())
}

func mistyped(at string, got any, want string) error {
	text := fmt.Sprint(got)
	switch got.(type) {
	case map[string]any:
		text = "an object"
	case []any:
		text = "a list"
	}
	return fmt.Errorf("resolver/chain: %s is %s, want %s", clip(at), clip(text), want)
}

// empty reports whether a value says nothing.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, e := range v {
			if !empty(e) {
				return false
			}
		}
		return true
	}
	return false
}

package chain

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

func (d *treeDecoder) duration(path string, v any, dst reflect.Value) error {
	switch v := v.(type) {
	case string:
		n, err := time.ParseDuration(v)
		if err != nil {
			return d.fail(path, `%q is not a duration like "1.5s"`, clip(v))
		}
		dst.SetInt(int64(n))
		return nil
	case json.Number:
		n, ok := wholeNumber(v.String())
		if !ok {
			return d.fail(path, `%s is not a duration like "1.5s", or a whole number of nanoseconds`, clip(v.String()))
		}
		dst.SetInt(n)
		return nil
	}
	return d.fail(path, `%s where a duration like "1.5s" is needed`, describeTree(v))
}

func (d *treeDecoder) scalar(path string, v any, dst reflect.Value) error {
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	truth, isBool := v.(bool)
	if !isText && !isNumber && !isBool {
		return d.fail(path, "%s where %s is needed", describeTree(v), wanted(dst.Kind()))
	}
	if isNumber {
		text = number.String()
	}
	if isBool {
		text = "0"
		if truth {
			text = "1"
		}
	}
	ok := true
	switch dst.Kind() {
	case reflect.String:
		dst.SetString(text)
	case reflect.Bool:
		var b bool
		switch {
		case isBool:
			b = truth
		case isNumber:
			f, err := strconv.ParseFloat(text, 64)
			b, ok = f != 0, err == nil
		case text != "":
			var err error
			b, err = strconv.ParseBool(text)
			ok = err == nil
		}
		dst.SetBool(b)
	case reflect.Int, reflect.Int64:
		var n int64
		if n, ok = wholeNumber(text); ok && !dst.OverflowInt(n) {
			dst.SetInt(n)
			return nil
		}
		ok = false
	case reflect.Uint32, reflect.Uint64:
		var n int64
		if n, ok = wholeNumber(text); ok && n >= 0 && !dst.OverflowUint(uint64(n)) {
			dst.SetUint(uint64(n))
			return nil
		}
		ok = false
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		ok = err == nil && !math.IsNaN(f) && math.Abs(f) < 1e9
		if ok {
			dst.SetFloat(f)
		}
	}
	if !ok {
		return d.fail(path, "%q is not %s", clip(text), wanted(dst.Kind()))
	}
	return nil
}

// wholeNumber reads "15", "0x1f" and "1.5e3".
func wholeNumber(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 up"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

func describeTree(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the text %q stands", clip(v))
	case json.Number:
		return "the number " + clip(v.String()) + " stands"
	case bool:
		return strconv.FormatBool(v) + " stands"
	case []any:
		return fmt.Sprintf("a list of %d stands", len(v))
	case map[string]any:
		return "a mapping of keys to values stands"
	}
	return "null stands"
}

func fieldPath(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// plainTree is v as encoding/json would give it.
func plainTree(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(v.String(), 64)
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plainTree(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = plainTree(item)
		}
		return out
	}
	return v
}

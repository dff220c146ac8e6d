package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxRules bounds a document with rules, in bytes.
const maxRules = 4 << 20

// maxDepth bounds how deep a document may nest.
const maxDepth = 32

// strict decodes one JSON value into v and refuses what two parsers could read
// differently: unknown fields, a key twice (in any case), deep nesting, trailing bytes.
func strict(data []byte, v any) error {
	if err := unambiguous(data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

// unambiguous looks for keys that are there twice and for deep nesting.
func unambiguous(data []byte) error {
	type level struct {
		keys map[string]bool // nil in a list
		key  bool            // the next string is a key
	}
	var stack []level
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		delim, isDelim := tok.(json.Delim)
		if isDelim && (delim == '}' || delim == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if top != nil && top.keys != nil {
			if key, ok := tok.(string); ok && top.key {
				fold := strings.ToLower(key)
				if top.keys[fold] {
					return fmt.Errorf("key %q is there twice", clip(key))
				}
				top.keys[fold], top.key = true, false
				continue
			}
			top.key = true
		}
		if isDelim {
			if len(stack) == maxDepth {
				return fmt.Errorf("nested deeper than %d", maxDepth)
			}
			next := level{}
			if delim == '{' {
				next = level{keys: map[string]bool{}, key: true}
			}
			stack = append(stack, next)
		}
	}
}

package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// parseJSON reads one JSON value. A key that stands twice is an error: of two
// values one would be dropped.
func parseJSON(data []byte) ([]any, error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	dec.UseNumber()
	v, err := jsonValue(dec, 0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the JSON text ends too early")
	}
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("byte %d: more text follows the JSON value", dec.InputOffset())
	}
	return []any{v}, nil
}

func jsonValue(dec *json.Decoder, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth >= maxDepth {
		return nil, fmt.Errorf("over %d lists and mappings in each other", maxDepth)
	}
	if open == '[' {
		list := []any{}
		for dec.More() {
			item, err := jsonValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err := dec.Token()
		return list, err
	}
	m := map[string]any{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, _ := tok.(string)
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("key %q stands twice in one mapping", clip(key))
		}
		if m[key], err = jsonValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return m, err
}

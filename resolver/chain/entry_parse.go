package chain

import (
	"fmt"
	"reflect"
	"strings"
)

// Format is how entries are written down.
type Format string

// The formats that [DecodeEntries] reads.
const (
	JSON Format = "json" // JSON as Consul's API takes and gives it
	YAML Format = "yaml" // YAML with the same keys
	HCL  Format = "hcl"  // HCL as the command consul config write takes it
)

const (
	maxEntryBytes = 4 << 20 // of one document
	maxEntries    = 1 << 16 // of one document or set
	maxErrors     = 16      // that one error lists
)

// DecodeEntries reads config entries: one, or a list of them, or one in each YAML
// document, or those under config_entries.bootstrap of an agent's configuration.
// Keys may be written as PathPrefix or path_prefix, durations as "1.5s" or in
// nanoseconds.
//
// What is read but has no effect, and each field that is not known, is a Problem.
// Kinds of entries that are no part of a chain, such as service-intentions, are
// left out with a Problem. An entry that cannot be read is an [EntryError]; the
// others are still returned. Each entry that is returned is valid by itself, and
// normalized; whether they go together is for [NewEntrySet] to say.
func DecodeEntries(data []byte, format Format) ([]Entry, []Problem, error) {
	if len(data) > maxEntryBytes {
		return nil, nil, &EntryError{Why: fmt.Sprintf("%d bytes of entries, over %d; split them", len(data), maxEntryBytes)}
	}
	var docs []any
	var err error
	switch format {
	case JSON:
		docs, err = parseJSON(data)
	case YAML:
		docs, err = parseYAML(data)
	case HCL:
		docs, err = parseHCL(data)
	default:
		err = fmt.Errorf("format %q is not one of json, yaml, hcl", clip(string(format)))
	}
	if err != nil {
		return nil, nil, &EntryError{Why: clip(err.Error())}
	}
	var items []any
	for _, doc := range docs {
		more, err := entriesOf(doc)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, more...)
	}
	if len(items) > maxEntries {
		return nil, nil, &EntryError{Why: fmt.Sprintf("%d entries, over %d", len(items), maxEntries)}
	}
	var b batch
	for i, item := range items {
		b.add(i, len(items), item)
	}
	return b.entries, b.problems, joinErrors(b.errs)
}

// entriesOf finds the entries in a document.
func entriesOf(doc any) ([]any, error) {
	switch doc := doc.(type) {
	case []any:
		return doc, nil
	case map[string]any:
		inner, ok := doc["config_entries"]
		if !ok {
			return []any{doc}, nil
		}
		if len(doc) > 1 {
			return nil, &EntryError{Why: "other keys stand beside config_entries; keep the entries in a file of their own"}
		}
		var boot struct{ Bootstrap []any }
		d := treeDecoder{}
		if err := d.value("config_entries", inner, reflect.ValueOf(&boot).Elem()); err != nil {
			return nil, err
		}
		if len(d.problems) > 0 {
			return nil, &EntryError{Field: d.problems[0].Field, Why: "is not known; the list of entries is bootstrap"}
		}
		list, _ := lookUp(inner, "bootstrap").([]any)
		if list == nil && lookUp(inner, "bootstrap") != nil {
			list = []any{lookUp(inner, "bootstrap")}
		}
		return list, nil
	}
	return nil, &EntryError{Why: describeTree(doc) + " where an entry, or a list of entries, is needed"}
}

// lookUp is the value of a key in a mapping, or in a list of one mapping.
func lookUp(v any, key string) any {
	if list, ok := v.([]any); ok && len(list) == 1 {
		v = list[0]
	}
	m, _ := v.(map[string]any)
	for k, item := range m {
		if strings.EqualFold(strings.ReplaceAll(k, "_", ""), key) {
			return item
		}
	}
	return nil
}

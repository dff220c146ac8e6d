package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads the documents of a YAML text. Numbers keep their text, so that
// a version: 1.10 in a Meta stays what it is.
func parseYAML(data []byte) ([]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var docs []any
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
			continue
		}
		v, err := yamlValue(doc.Content[0], 0)
		if err != nil {
			return nil, err
		}
		if v != nil { // an empty document
			docs = append(docs, v)
		}
		if len(docs) > maxEntries {
			return nil, fmt.Errorf("over %d documents", maxEntries)
		}
	}
	if len(docs) == 0 {
		return nil, errors.New("there is no entry in the text; write [] for none")
	}
	return docs, nil
}

func yamlValue(n *yaml.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: over %d lists and mappings in each other", n.Line, maxDepth)
	}
	switch n.Kind {
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := yamlValue(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
				return nil, fmt.Errorf("line %d: a key is not text; merge keys are not supported", k.Line)
			}
			if _, twice := m[k.Value]; twice {
				return nil, fmt.Errorf("line %d: key %q stands twice in one mapping", k.Line, clip(k.Value))
			}
			v, err := yamlValue(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			m[k.Value] = v
		}
		return m, nil
	case yaml.ScalarNode:
		return yamlScalar(n)
	}
	// A short text with aliases can stand for an endless one.
	return nil, fmt.Errorf("line %d: YAML aliases are not supported", n.Line)
}

func yamlScalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return nil, fmt.Errorf("line %d: %q is not true or false", n.Line, clip(n.Value))
		}
		return b, nil
	case "!!int", "!!float":
		return json.Number(strings.ReplaceAll(n.Value, "_", "")), nil
	}
	return n.Value, nil
}

package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	hcltoken "github.com/hashicorp/hcl/hcl/token"
)

// maxBrackets bounds the nesting that the HCL parser, which recurses, may see. It
// is counted without regard to strings, so it leaves room for brackets in them.
const maxBrackets = 4096

// endMark is put at the end of an HCL text.
const endMark = "weft_end_of_text"

// parseHCL reads an HCL text as one mapping. A block that is repeated becomes a
// list, and a block with labels mappings in each other.
func parseHCL(data []byte) (docs []any, err error) {
	open := 0
	for _, c := range data {
		switch c {
		case '{', '[':
			open++
		case '}', ']':
			open = max(open-1, 0)
		}
		if open > maxBrackets {
			return nil, fmt.Errorf("over %d brackets are open at once", maxBrackets)
		}
	}
	// The parser panics at some texts, such as a number that is out of range.
	defer func() {
		if r := recover(); r != nil {
			docs, err = nil, fmt.Errorf("the HCL text cannot be read: %v", r)
		}
	}()
	// The parser drops a last key without value; with the mark it is no last one.
	f, err := parser.Parse(append(data[:len(data):len(data)], "\n"+endMark+" = true\n"...))
	if err != nil {
		return nil, fmt.Errorf("the HCL text cannot be read: %w", err)
	}
	list, ok := f.Node.(*ast.ObjectList)
	if !ok {
		return nil, errors.New("the HCL text cannot be read: it is no list of keys and values")
	}
	m, err := hclObject(list, 0)
	if err != nil {
		return nil, err
	}
	if m[endMark] != true {
		return nil, errors.New("the HCL text cannot be read: it ends too early")
	}
	delete(m, endMark)
	if len(m) == 0 {
		return nil, errors.New("there is no entry in the text")
	}
	return []any{m}, nil
}

func hclObject(list *ast.ObjectList, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: over %d lists and blocks in each other", list.Pos().Line, maxDepth)
	}
	m := make(map[string]any, len(list.Items))
	repeated := map[string]bool{}
	for _, item := range list.Items {
		v, err := hclValue(item.Val, depth+1)
		if err != nil {
			return nil, err
		}
		for i := len(item.Keys) - 1; i > 0; i-- {
			v = map[string]any{hclText(item.Keys[i].Token): v}
		}
		if len(item.Keys) == 0 {
			return nil, fmt.Errorf("line %d: a value has no key", item.Val.Pos().Line)
		}
		key := hclText(item.Keys[0].Token)
		old, twice := m[key]
		if !twice {
			m[key] = v
			continue
		}
		_, block := v.(map[string]any)
		_, oldBlock := old.(map[string]any)
		if !block || !oldBlock && !repeated[key] {
			return nil, fmt.Errorf("line %d: key %q stands twice in one block", item.Pos().Line, clip(key))
		}
		if !repeated[key] {
			old, repeated[key] = []any{old}, true
		}
		m[key] = append(old.([]any), v)
	}
	return m, nil
}

func hclValue(n ast.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: over %d lists and blocks in each other", n.Pos().Line, maxDepth)
	}
	switch n := n.(type) {
	case *ast.ObjectType:
		return hclObject(n.List, depth)
	case *ast.ListType:
		list := make([]any, 0, len(n.List))
		for _, item := range n.List {
			v, err := hclValue(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case *ast.LiteralType:
		switch v := n.Token.Value().(type) {
		case bool:
			return v, nil
		case string:
			return v, nil
		case int64:
			return json.Number(strconv.FormatInt(v, 10)), nil
		case float64:
			return json.Number(strconv.FormatFloat(v, 'f', -1, 64)), nil
		}
	}
	return nil, fmt.Errorf("line %d: a value is of no known type", n.Pos().Line)
}

func hclText(t hcltoken.Token) string {
	s, _ := t.Value().(string)
	return s
}

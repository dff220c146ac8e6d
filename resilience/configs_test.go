package resilience

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

// The table of configurations has all of the package.
func TestEveryConfigIsInTheTable(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for c := range configs() {
		known[reflect.TypeOf(c).Elem().Name()] = true
	}
	for _, name := range without {
		known[name] = true
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Name.IsExported() && strings.HasSuffix(s.Name.Name, "Config") {
				if found++; !known[s.Name.Name] {
					t.Errorf("%s: %s is not in the table of configurations", file.Name(), s.Name.Name)
				}
			}
			return true
		})
	}
	if found < 10 {
		t.Errorf("only %d configurations were found", found)
	}
}

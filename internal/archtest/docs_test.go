package archtest

import (
	"go/ast"
	"go/doc"
	"strings"
)

const minDocLines = 3

// packageDocs: each public package says what it is for, and shows it.
func packageDocs(t *tree) (found []string) {
	for dir, files := range t.packages() {
		var first *file
		var tests []*ast.File
		docLines := 0
		for _, f := range files {
			if f.test() {
				tests = append(tests, f.ast)
				continue
			}
			if first == nil || f.base() == "doc.go" {
				first = f
			}
			docLines = max(docLines, strings.Count(f.ast.Doc.Text(), "\n"))
		}
		if first == nil || !first.public() {
			continue
		}
		if docLines < minDocLines {
			found = append(found, first.at(first.ast.Package, "the comment of package %s has %d lines: say what it does, and what it does not", dir, docLines))
		}
		if _, excused := noExample[dir]; excused || begun[dir] {
			continue
		}
		shown := false
		for _, ex := range doc.Examples(tests...) {
			shown = shown || ex.Output != "" || ex.EmptyOutput
		}
		if !shown {
			found = append(found, first.at(first.ast.Package, "package %s has no Example with an Output comment: show how it is used", dir))
		}
	}
	return found
}

// noExample are public packages without an Example.
var noExample = map[string]string{
	"resolver/resolvertest": "it needs a *testing.T, which an Example has not",
	"balancer/balancertest": "it needs a *testing.T, which an Example has not",
	"mesh/meshtest":         "it needs a *testing.T, which an Example has not",
}

// begun are packages whose core types stand already. They owe an example and a
// leak check, and leave this list with them.
var begun = map[string]bool{}

// tested: each public package has tests of its own. Packages under internal/ may
// leave that to the package they serve.
func tested(t *tree) (found []string) {
	for dir, files := range t.packages() {
		var first *file
		has := begun[dir]
		for _, f := range files {
			has = has || f.test()
			if first == nil && f.public() {
				first = f
			}
		}
		if !has && first != nil {
			found = append(found, first.at(first.ast.Package, "package %s has no test file: test what it promises", dir))
		}
	}
	return found
}

// readme: the first Go block of the README is code that is compiled. Its lines
// must stand together, whatever their indentation, in a Go file under mesh/ or
// examples/.
func readme(t *tree) (found []string) {
	var block []string
	var from *file
	compiled, front := false, false
	for _, f := range t.files {
		if f.path == "README.md" {
			from, block = f, goBlock(f.src)
		}
		front = front || f.ours() && f.room() == "mesh" && !f.test()
	}
	if !front {
		return nil // nothing to compile it against
	}
	if len(block) == 0 {
		return []string{"README.md:1: no ```go block: show the first lines that a user writes"}
	}
	for _, f := range t.files {
		if f.ours() && (f.room() == "mesh" || f.room() == "examples") {
			compiled = compiled || holds(trimmed(f.src), block)
		}
	}
	if !compiled {
		n := 1 + strings.Count(from.src[:strings.Index(from.src, "```go")], "\n")
		found = append(found, from.line(n, "the first Go block is not in any Go file under mesh/ or examples/: copy it into an Example, line by line"))
	}
	return found
}

// goBlock returns the first fenced Go block.
func goBlock(md string) []string {
	_, rest, ok := strings.Cut(md, "```go\n")
	body, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		return nil
	}
	return trimmed(body)
}

// trimmed is the lines of src that are not blank, without indentation, and with
// runs of spaces folded: gofmt aligns comments by their surroundings.
func trimmed(src string) (lines []string) {
	for line := range strings.Lines(src) {
		if fields := strings.Fields(line); len(fields) > 0 {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return lines
}

// holds reports whether part stands in whole without a gap.
func holds(whole, part []string) bool {
	for i := range len(whole) - len(part) + 1 {
		if equal(whole[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

func equal(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

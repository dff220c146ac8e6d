package archtest

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

var (
	quotedName = regexp.MustCompile("`([^`]+)`")
	testName   = regexp.MustCompile("`[^`]+`|\\b(?:Test|Fuzz|Example)[A-Z]\\w*")
	tableTests = regexp.MustCompile("All tests are in `([^`]+)`")
)

// defended: each row of the tables in SECURITY.md names tests that are there. A test's
// package is named before it in the row, by the end of its path, or before the table.
func defended(t *tree) (found []string) {
	tests := map[string][]string{} // by directory
	var dirs []string
	for dir, files := range t.packages() {
		dirs = append(dirs, dir)
		for _, f := range files {
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && f.test() && fn.Recv == nil {
					tests[dir] = append(tests[dir], fn.Name.Name)
				}
			}
		}
	}
	for _, f := range t.files {
		if f.path != "SECURITY.md" {
			continue
		}
		home, header := "", ""
		for i, line := range strings.Split(f.src, "\n") {
			if strings.HasPrefix(line, "#") {
				home = ""
			}
			if m := tableTests.FindStringSubmatch(line); m != nil {
				home = m[1]
			}
			if !strings.HasPrefix(line, "|") {
				header = ""
				continue
			}
			if header == "" {
				header = line
			}
			cells := strings.Split(strings.Trim(line, "| "), "|")
			if !strings.HasSuffix(strings.TrimRight(header, "| "), " test") || line == header || strings.HasPrefix(line, "|---") {
				continue
			}
			dir, named := home, 0
			for _, word := range testName.FindAllString(cells[len(cells)-1], -1) {
				if q := quotedName.FindStringSubmatch(word); q != nil {
					if at := slices.IndexFunc(dirs, func(d string) bool { return d == q[1] || strings.HasSuffix(d, "/"+q[1]) }); at >= 0 {
						dir = dirs[at]
						if strings.HasPrefix(dir, "examples/") {
							named++ // the example itself is the test
						}
					}
					continue
				}
				named++
				if !slices.Contains(tests[dir], word) {
					found = append(found, f.line(i+1, "%s is not a test of %q: name the one that fails without the defence", word, dir))
				}
			}
			if named == 0 {
				found = append(found, f.line(i+1, "the row names no test: a row is added when its test is in the tree"))
			}
		}
	}
	return found
}

// hiddenPages: nothing is served that the user has not asked for, and the profiler, for
// one, would be served to whoever reaches the process's default handler.
func hiddenPages(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || f.test() || !f.public() {
			continue
		}
		for _, p := range []string{"net/http/pprof", "expvar"} {
			if spec := importsOf(f)[p]; spec != nil {
				found = append(found, f.at(spec.Pos(), "package %s serves pages in http.DefaultServeMux: leave that to the program", p))
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "http" && slices.Contains([]string{"Handle", "HandleFunc", "DefaultServeMux", "ListenAndServe", "ListenAndServeTLS"}, sel.Sel.Name) {
				found = append(found, f.at(n.Pos(), "http.%s serves what a program has in http.DefaultServeMux: give the caller an http.Handler", sel.Sel.Name))
			}
			return true
		})
	}
	return found
}

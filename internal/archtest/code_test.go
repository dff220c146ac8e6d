package archtest

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

const (
	maxLines    = 500 // of any file
	medianLines = 120 // of the files that are not tests
)

// fileSize: a file that has grown past the bound has more than one subject.
func fileSize(t *tree) (found []string) {
	type sized struct {
		path  string
		lines int
	}
	var sizes []sized
	for _, f := range t.files {
		if !f.ours() {
			continue
		}
		n := strings.Count(f.src, "\n")
		if n > maxLines {
			found = append(found, f.line(maxLines, "%d lines, at most %d: split it by subject", n, maxLines))
		}
		if !f.test() {
			sizes = append(sizes, sized{f.path, n})
		}
	}
	if len(sizes) == 0 {
		return found
	}
	slices.SortFunc(sizes, func(a, b sized) int { return a.lines - b.lines })
	if m := sizes[len(sizes)/2]; m.lines > medianLines {
		found = append(found, m.path+":1: the median file has more than 120 lines: split some of the long ones")
	}
	return found
}

// initAllowed matches the files that may have an init function: gRPC finds
// load-balancing policies in a registry that is meant to be filled by init.
var initAllowed = regexp.MustCompile(`^balancer/grpc[^/]*\.go$`)

// noInit: importing a package changes nothing.
func noInit(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || initAllowed.MatchString(f.path) {
			continue
		}
		for _, decl := range f.ast.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
				found = append(found, f.at(d.Pos(), "init function: do it in a constructor"))
			}
		}
	}
	return found
}

// noSleep: a test that sleeps is slow, or fails on a slow machine. In a
// testing/synctest bubble the clock is the test's own.
func noSleep(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || !f.test() {
			continue
		}
		if _, ok := importsOf(f)["testing/synctest"]; ok {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if isCall(n, "time", "Sleep") {
				found = append(found, f.at(n.Pos(), "time.Sleep in a test: wait for the event itself, or use a testing/synctest bubble"))
			}
			return true
		})
	}
	return found
}

// leakCheck: a package that starts goroutines proves that they end.
func leakCheck(t *tree) (found []string) {
	for dir, files := range t.packages() {
		var start string
		checked := begun[dir]
		for _, f := range files {
			if f.main() {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if g, ok := n.(*ast.GoStmt); ok && !f.test() && start == "" {
					start = f.at(g.Pos(), "a goroutine starts here and the package's tests have no leak check: call goleak.VerifyTestMain in TestMain")
				}
				checked = checked || f.test() && isCall(n, "goleak", "VerifyTestMain")
				return true
			})
		}
		if start != "" && !checked {
			found = append(found, start)
		}
	}
	return found
}

func isCall(n ast.Node, pkg, name string) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg && sel.Sel.Name == name
}

// unfinished matches words that mark work left undone. They are spelled in
// parts so that this file passes.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|(?i:for ` + `now|place` + `holder|not imple` + `mented))\b`)

// noLoose: what is in the tree is finished; what is not done yet is an issue.
func noLoose(t *tree) (found []string) {
	for _, f := range t.files {
		if f.generated {
			continue
		}
		for i, line := range strings.Split(f.src, "\n") {
			if w := unfinished.FindString(line); w != "" {
				found = append(found, f.line(i+1, "%q: finish it or open an issue", w))
			}
		}
	}
	return found
}

package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// noSkip: a test that skips itself proves nothing, and nobody notices.
func noSkip(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || !f.test() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			for _, recv := range []string{"t", "b", "f", "tb"} {
				for _, name := range []string{"Skip", "Skipf", "SkipNow"} {
					if isCall(n, recv, name) {
						found = append(found, f.at(n.Pos(), "%s.%s: make the test run everywhere, or remove it", recv, name))
					}
				}
			}
			return true
		})
	}
	return found
}

// counted: a test that the race detector turns off is run without it by make test,
// which finds such tests by their names.
func counted(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || !f.test() {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || strings.Contains(fn.Name.Name, "Alloc") {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && id.Name == "raceEnabled" {
					found = append(found, f.at(n.Pos(), "%s asks for raceEnabled: name it …Alloc…, or make test never runs what it leaves out", fn.Name.Name))
				}
				return true
			})
		}
	}
	return found
}

// speaking are functions that write where the caller cannot turn them off.
var speaking = map[string][]string{
	"fmt":  {"Print", "Printf", "Println"},
	"slog": {"Default", "Debug", "Info", "Warn", "Error", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log", "LogAttrs"},
}

// ownLogger: a library speaks only through the logger that its caller gave it.
func ownLogger(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || f.test() || !f.public() {
			continue
		}
		if spec := importsOf(f)["log"]; spec != nil {
			found = append(found, f.at(spec.Pos(), "package log writes to the process's stderr: take a *slog.Logger from the caller"))
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			for pkg, names := range speaking {
				for _, name := range names {
					if isCall(n, pkg, name) {
						found = append(found, f.at(n.Pos(), "%s.%s writes where the caller cannot turn it off: take a *slog.Logger from the caller", pkg, name))
					}
				}
			}
			return true
		})
	}
	return found
}

// sharedState are package-level variables that change. The key is the directory,
// a dot and the name.
var sharedState = map[string]string{}

// noGlobals: two meshes in one process share nothing that changes. Variables of
// a sync or atomic type are made to change; others are taken to be constants.
func noGlobals(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || f.test() || !f.public() {
			continue
		}
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				s := spec.(*ast.ValueSpec)
				for i, id := range s.Names {
					of := s.Type
					if of == nil && i < len(s.Values) {
						of = s.Values[i]
					}
					if _, excused := sharedState[f.dir()+"."+id.Name]; !excused && changes(of) {
						found = append(found, f.at(id.Pos(), "package-level variable %s changes: make it a field of what owns it", id.Name))
					}
				}
			}
		}
	}
	return found
}

// changes reports whether a type, or a value's literal, is of package sync or
// sync/atomic. sync.OnceValue and its like are constants that are made late.
func changes(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return changes(e.Type)
	case *ast.UnaryExpr:
		return changes(e.X)
	case *ast.StarExpr:
		return changes(e.X)
	case *ast.IndexExpr:
		return changes(e.X)
	case *ast.SelectorExpr:
		id, ok := e.X.(*ast.Ident)
		return ok && slices.Contains([]string{"sync", "atomic"}, id.Name) && !strings.HasPrefix(e.Sel.Name, "Once")
	}
	return false
}

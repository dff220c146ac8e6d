// Package archtest holds the repository's habits as tests: which package may
// import which, how configuration is documented, how large a file may grow.
// Each finding names a file and a line and says what to do.
//
// It has no code to import. It reads the sources and runs nothing of them.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/weft-mesh/weft"

// file is one text file of the repository. ast is nil unless it is Go.
type file struct {
	path      string // slash-separated, from the repository's root
	src       string
	ast       *ast.File
	fset      *token.FileSet
	generated bool
	nested    bool // in a module of its own
}

// tree is a repository.
type tree struct {
	files []*file
	fset  *token.FileSet
}

func (f *file) dir() string  { return path.Dir(f.path) }
func (f *file) base() string { return path.Base(f.path) }
func (f *file) test() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f *file) main() bool   { return f.ast != nil && f.ast.Name.Name == "main" }

// ours reports whether people wrote the file in Go.
func (f *file) ours() bool { return f.ast != nil && !f.generated }

// rooms are the public packages: rooms()[0] of "resolver/consul" is "resolver".
func (f *file) room() string {
	room, _, _ := strings.Cut(f.dir(), "/")
	return room
}

// public reports whether users can import the file's package.
func (f *file) public() bool {
	return !f.nested && !f.main() && f.dir() != "." && f.room() != "examples" &&
		!slices.Contains(strings.Split(f.dir(), "/"), "internal")
}

// at is the finding's text: where, then what.
func (f *file) at(pos token.Pos, format string, args ...any) string {
	return f.line(f.fset.Position(pos).Line, format, args...)
}

func (f *file) line(n int, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, n, fmt.Sprintf(format, args...))
}

// add parses and keeps one file.
func (t *tree) add(name, src string, nested bool) error {
	f := &file{path: name, src: src, fset: t.fset, nested: nested}
	if strings.HasSuffix(name, ".go") {
		parsed, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f.ast, f.generated = parsed, ast.IsGenerated(parsed)
	}
	t.files = append(t.files, f)
	return nil
}

// packages groups the Go files that people wrote by directory.
func (t *tree) packages() map[string][]*file {
	dirs := map[string][]*file{}
	for _, f := range t.files {
		if f.ours() {
			dirs[f.dir()] = append(dirs[f.dir()], f)
		}
	}
	return dirs
}

var textFiles = []string{".go", ".md", ".yml", ".yaml", ".conf", ".svg", ".proto", "Makefile", "NOTICE", "go.mod"}

// load reads the repository.
func load() (*tree, error) {
	root, err := os.OpenRoot("../..")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fsys := root.FS()
	t := &tree{fset: token.NewFileSet()}
	var modules []string
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if name == ".git" || name == "bin" || name == "testdata" {
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(p, "go.mod")); err == nil && p != "." {
				modules = append(modules, p+"/")
			}
			return nil
		}
		if !d.Type().IsRegular() || !slices.ContainsFunc(textFiles, func(s string) bool { return strings.HasSuffix(name, s) }) {
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		nested := slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(p, m) })
		return t.add(p, string(src), nested)
	})
	return t, err
}

// rule is one habit: it returns what breaks it.
type rule struct {
	name  string
	check func(*tree) []string
}

func TestHabits(t *testing.T) {
	t.Parallel()
	repo, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(repo.packages()) < 5 {
		t.Fatalf("archtest: found only %d packages: the repository's root is not ../..", len(repo.packages()))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			found := r.check(repo)
			slices.Sort(found)
			for _, f := range found {
				t.Error(f)
			}
		})
	}
}

package archtest

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// saysZero matches a comment that says what an unset field means.
var saysZero = regexp.MustCompile(`(?i)(\b(zero|nil|empty|default|defaults|negative|unset|false|none|required|optional)\b|\b0\b)`)

// configComments: a reader of a Config or Policy learns from each field's comment
// what leaving it out means. One comment may serve a run of fields that it names.
func configComments(t *tree) (found []string) {
	eachField(t, func(f *file, v field) {
		config := strings.HasSuffix(v.typ, "Config") || strings.HasSuffix(v.typ, "Policy")
		if config && !saysZero.MatchString(v.comment) {
			found = append(found, f.at(v.id.Pos(), "%s.%s: say in its comment what zero, nil or empty means", v.typ, v.id.Name))
		}
	})
	return found
}

// fieldComments: each exported field of an exported struct has a comment: its own,
// or one above or of the type that names it. An embedded type has its own.
func fieldComments(t *tree) (found []string) {
	eachField(t, func(f *file, v field) {
		if v.comment == "" && !v.embedded {
			found = append(found, f.at(v.id.Pos(), "%s.%s has no comment: say what it is, and its unit", v.typ, v.id.Name))
		}
	})
	return found
}

// field is an exported field of an exported struct.
type field struct {
	typ      string
	id       *ast.Ident
	comment  string // its own, or the one above that names it
	embedded bool
}

// eachField visits the exported fields of exported structs of public packages.
func eachField(t *tree, visit func(*file, field)) {
	for _, f := range t.files {
		if !f.ours() || f.test() || !f.public() {
			continue
		}
		eachType(f, func(spec *ast.TypeSpec, typeDoc string) {
			st, ok := spec.Type.(*ast.StructType)
			if !ok || !spec.Name.IsExported() {
				return
			}
			above := ""
			for _, part := range st.Fields.List {
				text := part.Doc.Text() + part.Comment.Text()
				for _, id := range fieldNames(part) {
					v := field{spec.Name.Name, id, text, len(part.Names) == 0}
					for _, shared := range []string{typeDoc, above} {
						if text == "" && names(shared, id.Name) {
							v.comment += shared
						}
					}
					if id.IsExported() {
						visit(f, v)
					}
				}
				if text != "" {
					above = text
				}
			}
		})
	}
}

// names reports whether a comment speaks of a field: "trust domain" of TrustDomain.
func names(comment, name string) bool {
	squash := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), "")) }
	return strings.Contains(squash(comment), squash(name))
}

func fieldNames(part *ast.Field) []*ast.Ident {
	if len(part.Names) > 0 {
		return part.Names
	}
	typ := part.Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	switch typ := typ.(type) {
	case *ast.Ident:
		return []*ast.Ident{typ}
	case *ast.SelectorExpr:
		return []*ast.Ident{typ.Sel}
	}
	return nil
}

// wideInterfaces are exported interfaces that may have more than two methods.
// The key is the directory, a dot and the name.
var wideInterfaces = map[string]string{}

// smallInterfaces: an exported interface has one or two methods. An embedded
// interface of another package counts as one.
func smallInterfaces(t *tree) (found []string) {
	for dir, files := range t.packages() {
		local := map[string]*ast.InterfaceType{}
		for _, f := range files {
			eachType(f, func(spec *ast.TypeSpec, _ string) {
				if it, ok := spec.Type.(*ast.InterfaceType); ok {
					local[spec.Name.Name] = it
				}
			})
		}
		for _, f := range files {
			if f.test() || !f.public() {
				continue
			}
			eachType(f, func(spec *ast.TypeSpec, _ string) {
				it, ok := spec.Type.(*ast.InterfaceType)
				if _, excused := wideInterfaces[dir+"."+spec.Name.Name]; !ok || !spec.Name.IsExported() || excused {
					return
				}
				if n := methods(it, local); n > 2 {
					found = append(found, f.at(spec.Pos(), "%s has %d methods: split it, or list it in wideInterfaces with the reason", spec.Name.Name, n))
				}
			})
		}
	}
	return found
}

func methods(it *ast.InterfaceType, local map[string]*ast.InterfaceType) int {
	n := 0
	for _, m := range it.Methods.List {
		switch typ := m.Type.(type) {
		case *ast.FuncType:
			n += len(m.Names)
		case *ast.Ident:
			if e := local[typ.Name]; e != nil && e != it {
				n += methods(e, local)
			} else {
				n++
			}
		case *ast.SelectorExpr:
			n++
		}
	}
	return n
}

// undocumented: each exported name of a public package, methods and fields
// included, has a comment. A comment on a group, or on the first of a run of
// fields or constants without a blank line between them, serves the others.
func undocumented(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || f.test() || !f.public() {
			continue
		}
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					found = append(found, f.at(d.Pos(), "%s has no comment: say what it does", d.Name.Name))
				}
			case *ast.GenDecl:
				if d.Tok == token.IMPORT {
					continue
				}
				for _, spec := range d.Specs {
					found = append(found, bareSpec(f, d, spec)...)
				}
			}
		}
	}
	return found
}

func bareSpec(f *file, d *ast.GenDecl, spec ast.Spec) (found []string) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
			found = append(found, f.at(s.Pos(), "type %s has no comment: say what it is", s.Name.Name))
		}
	case *ast.ValueSpec:
		for _, id := range s.Names {
			if id.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				found = append(found, f.at(id.Pos(), "%s has no comment: say what it is", id.Name))
			}
		}
	}
	return found
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	exported := true
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			exported = id.IsExported()
			return false
		}
		_, index := n.(*ast.IndexExpr)
		_, star := n.(*ast.StarExpr)
		return index || star
	})
	return exported
}

func eachType(f *file, visit func(spec *ast.TypeSpec, doc string)) {
	for _, decl := range f.ast.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			for _, s := range d.Specs {
				spec := s.(*ast.TypeSpec)
				visit(spec, d.Doc.Text()+spec.Doc.Text())
			}
		}
	}
}

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
	eachField(t, func(f *file, typ string, id *ast.Ident, comment string) {
		config := strings.HasSuffix(typ, "Config") || strings.HasSuffix(typ, "Policy")
		if config && !saysZero.MatchString(comment) {
			found = append(found, f.at(id.Pos(), "%s.%s: say in its comment what zero, nil or empty means", typ, id.Name))
		}
	})
	return found
}

// fieldComments: each exported field of an exported struct has a comment, its own
// or one above that names it.
func fieldComments(t *tree) (found []string) {
	eachField(t, func(f *file, typ string, id *ast.Ident, comment string) {
		if comment == "" {
			found = append(found, f.at(id.Pos(), "%s.%s has no comment: say what it is, and its unit", typ, id.Name))
		}
	})
	return found
}

// eachField visits the exported fields of exported structs of public packages.
func eachField(t *tree, visit func(f *file, typ string, id *ast.Ident, comment string)) {
	for _, f := range t.files {
		if !f.ours() || f.test() || !f.public() {
			continue
		}
		eachType(f, func(spec *ast.TypeSpec) {
			st, ok := spec.Type.(*ast.StructType)
			if !ok || !spec.Name.IsExported() {
				return
			}
			above := ""
			for _, field := range st.Fields.List {
				text := field.Doc.Text() + field.Comment.Text()
				for _, id := range fieldNames(field) {
					said := text
					if said == "" && strings.Contains(above, id.Name) {
						said = above
					}
					if id.IsExported() {
						visit(f, spec.Name.Name, id, said)
					}
				}
				if text != "" {
					above = text
				}
			}
		})
	}
}

func fieldNames(field *ast.Field) []*ast.Ident {
	if len(field.Names) > 0 {
		return field.Names
	}
	typ := field.Type
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
			eachType(f, func(spec *ast.TypeSpec) {
				if it, ok := spec.Type.(*ast.InterfaceType); ok {
					local[spec.Name.Name] = it
				}
			})
		}
		for _, f := range files {
			if f.test() || !f.public() {
				continue
			}
			eachType(f, func(spec *ast.TypeSpec) {
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

func eachType(f *file, visit func(*ast.TypeSpec)) {
	for _, decl := range f.ast.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			for _, s := range d.Specs {
				visit(s.(*ast.TypeSpec))
			}
		}
	}
}

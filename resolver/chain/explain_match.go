package chain

import (
	"fmt"
	"strings"
)

// describe is what a matcher asks for.
func (m *matcher) describe() string {
	var parts []string
	switch m.kind {
	case exactPath:
		parts = append(parts, "path "+m.path)
	case prefixPath:
		parts = append(parts, "path "+m.path+"…")
	case regexPath:
		parts = append(parts, "path like "+source(m.re.String()))
	default:
		parts = append(parts, "any path")
	}
	if m.fold && m.kind != regexPath && m.kind != anyPath {
		parts[0] += " in any case"
	}
	if len(m.methods) > 0 {
		parts = append(parts, "method "+strings.Join(m.methods, " or "))
	}
	for i := range m.headers {
		parts = append(parts, m.headers[i].describe())
	}
	for i := range m.query {
		parts = append(parts, m.query[i].describe())
	}
	return strings.Join(parts, ", ")
}

// source is the expression inside of the anchors of [pattern].
func source(s string) string {
	s = strings.TrimPrefix(s, "(?i)")
	return strings.TrimSuffix(strings.TrimPrefix(s, `\A(?:`), `)\z`)
}

func (m *headerMatcher) describe() string {
	verb := ""
	if m.invert {
		verb = "not "
	}
	return verb + "header " + m.name.lower + m.value.describe()
}

func (m *queryMatcher) describe() string { return "query " + m.name + m.value.describe() }

func (m *valueMatcher) describe() string {
	s := ""
	switch m.kind {
	case anyValue:
		return " present"
	case exactValue:
		s = " = " + m.text
	case prefixValue:
		s = " = " + m.text + "…"
	case suffixValue:
		s = " = …" + m.text
	case containsValue:
		s = " = …" + m.text + "…"
	case regexValue:
		s = " like " + source(m.re.String())
	}
	if m.fold {
		s += " in any case"
	}
	return s
}

// why says what kept a matcher from matching.
func (m *matcher) why(e *Evaluator, part, at int, rd *reading) string {
	switch part {
	case partPath:
		return fmt.Sprintf("the path is %s", clip(rd.path()))
	case partMethod:
		return fmt.Sprintf("the method is %s", clip(rd.req.Method))
	case partHeader:
		h := &m.headers[at]
		values := rd.header(h.name)
		if len(values) == 0 {
			return "there is no header " + h.name.lower
		}
		var shown []string
		for _, v := range values {
			v, _ = e.public(h.name, v)
			shown = append(shown, v)
		}
		return fmt.Sprintf("header %s is %s", h.name.lower, clip(strings.Join(shown, ", ")))
	}
	return fmt.Sprintf("the query is %q", clip(rd.req.Query))
}

package chain

import (
	"regexp"
	"strings"
)

// pathKind says how a route matches the path.
type pathKind uint8

const (
	anyPath pathKind = iota // a prefix "/"
	exactPath
	prefixPath
	regexPath
)

// matcher is a compiled HTTPMatch: all of it must hold.
type matcher struct {
	kind    pathKind
	fold    bool
	path    string
	re      *regexp.Regexp
	methods []string
	headers []headerMatcher
	query   []queryMatcher
}

// The parts of a match, in the order in which they are looked at.
const (
	partNone = iota
	partPath
	partMethod
	partHeader
	partQuery
)

// match reports whether a request matches; if not, which part of the matcher says
// so, and its index there.
func (m *matcher) match(rd *reading) (ok bool, part, index int) {
	if !m.matchPath(rd.path()) {
		return false, partPath, 0
	}
	if len(m.methods) > 0 && !oneOf(m.methods, rd.req.Method) {
		return false, partMethod, 0
	}
	for i := range m.headers {
		if !m.headers[i].match(rd) {
			return false, partHeader, i
		}
	}
	for i := range m.query {
		if !m.query[i].match(rd.req.Query) {
			return false, partQuery, i
		}
	}
	return true, partNone, 0
}

func (m *matcher) matchPath(path string) bool {
	switch m.kind {
	case exactPath:
		return path == m.path || m.fold && foldEqual(path, m.path)
	case prefixPath:
		return strings.HasPrefix(path, m.path) || m.fold && len(path) >= len(m.path) && foldEqual(path[:len(m.path)], m.path)
	case regexPath:
		return m.re.MatchString(path)
	}
	return strings.HasPrefix(path, "/")
}

func oneOf(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// foldEqual compares without regard to the case of ASCII letters, as Envoy does.
func foldEqual(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func foldContains(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if foldEqual(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}

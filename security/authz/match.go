package authz

import (
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// matcher is a compiled HTTPPermission.
type matcher struct {
	exact, prefix string
	regex         *regexp.Regexp
	methods       []string
	headers       []headerMatcher
	deny          bool // what is in doubt matches
}

func compileMatcher(h *HTTPPermission, deny bool) (*matcher, error) {
	m := &matcher{deny: deny}
	n := 0
	for _, p := range []struct {
		rule string
		into *string
	}{{h.PathExact, &m.exact}, {h.PathPrefix, &m.prefix}} {
		if p.rule == "" {
			continue
		}
		n++
		if p.rule[0] != '/' {
			return nil, fmt.Errorf("path %q does not begin with a slash", clip(p.rule))
		}
		// Rules are written for escaped paths and matched with decoded ones.
		*p.into = p.rule
		if strings.Contains(p.rule, "%") {
			path, err := decode(p.rule)
			if err != nil {
				return nil, fmt.Errorf("path %q: %w", clip(p.rule), err)
			}
			*p.into = path
		}
	}
	if h.PathRegex != "" {
		n++
		if strings.Contains(h.PathRegex, "%") {
			return nil, errors.New("PathRegex holds a percent sign, but is matched with decoded paths")
		}
		var err error
		if m.regex, err = compileRegex(h.PathRegex); err != nil {
			return nil, err
		}
	}
	if n > 1 {
		return nil, errors.New("more than one of PathExact, PathPrefix, PathRegex")
	}
	for _, method := range h.Methods {
		method = strings.ToUpper(method)
		if err := checkMethod(method); err != nil {
			return nil, fmt.Errorf("method %q: %w", clip(method), err)
		}
		m.methods = append(m.methods, method)
		if deny && method == "GET" { // what serves GET serves HEAD
			m.methods = append(m.methods, "HEAD")
		}
	}
	for i := range h.Header {
		hm, err := compileHeader(&h.Header[i])
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", clip(h.Header[i].Name), err)
		}
		m.headers = append(m.headers, hm)
	}
	if n+len(m.methods)+len(m.headers) == 0 {
		return nil, errors.New("HTTP is empty")
	}
	return m, nil
}

// compileRegex makes an expression for a whole string, as Envoy does.
func compileRegex(s string) (*regexp.Regexp, error) {
	if len(s) > 1024 {
		return nil, fmt.Errorf("regular expression of %d bytes, the limit is 1024", len(s))
	}
	if _, err := regexp.Compile(s); err != nil { // it must not close our group
		return nil, errors.New("the regular expression cannot be read")
	}
	return regexp.Compile(`\A(?:` + s + `)\z`)
}

func (m *matcher) match(r *Request) bool {
	switch {
	case m.exact != "":
		// A router serves /admin/ where it serves /admin, as often as not.
		if r.Path != m.exact && !(m.deny && len(r.Path) == len(m.exact)+1 && r.Path[len(m.exact)] == '/' && strings.HasPrefix(r.Path, m.exact)) {
			return false
		}
	case m.prefix != "":
		if !strings.HasPrefix(r.Path, m.prefix) {
			return false
		}
	case m.regex != nil:
		if !m.regex.MatchString(r.Path) {
			return false
		}
	}
	if len(m.methods) > 0 && !slices.Contains(m.methods, r.Method) {
		return false
	}
	for i := range m.headers {
		if !m.headers[i].match(r, m.deny) {
			return false
		}
	}
	return true
}

// headerMatcher is a compiled HeaderPermission. A header that is there several
// times can say two things at once: an allow rule wants all of them to comply,
// for a deny rule one is enough.
type headerMatcher struct {
	name      string // canonical
	authority bool
	present   bool
	invert    bool
	test      func(string) bool
	regex     *regexp.Regexp
}

// unseen are headers that net/http takes out before anybody can look at them.
var unseen = []string{"Transfer-Encoding", "Trailer"}

func compileHeader(h *HeaderPermission) (headerMatcher, error) {
	m := headerMatcher{name: textproto.CanonicalMIMEHeaderKey(h.Name), invert: h.Invert, present: h.Present}
	switch lower := strings.ToLower(h.Name); {
	case lower == ":authority" || lower == "host":
		m.authority = true
	case h.Name == "" || !token(h.Name):
		return m, errors.New("not a header's name")
	case slices.Contains(unseen, m.name):
		return m, errors.New("servers take this header out, so that no rule can see it")
	}
	n := 0
	if h.Present {
		n++
		if h.IgnoreCase {
			return m, errors.New("IgnoreCase means nothing with Present")
		}
	}
	fold := func(s string) string { return s }
	if h.IgnoreCase || m.authority { // host names have no case
		fold = lowerASCII
	}
	for _, t := range []struct {
		want string
		test func(got, want string) bool
	}{
		{h.Exact, func(a, b string) bool { return a == b }},
		{h.Prefix, strings.HasPrefix},
		{h.Suffix, strings.HasSuffix},
		{h.Contains, strings.Contains},
	} {
		if t.want != "" {
			n++
			want, test := fold(t.want), t.test
			m.test = func(got string) bool { return test(fold(got), want) }
		}
	}
	if h.Regex != "" {
		n++
		if h.IgnoreCase {
			return m, errors.New("IgnoreCase means nothing with Regex")
		}
		expr := h.Regex
		if m.authority {
			expr = "(?i)" + expr
		}
		var err error
		if m.regex, err = compileRegex(expr); err != nil {
			return m, err
		}
	}
	if n != 1 {
		return m, errors.New("want exactly one of Present, Exact, Prefix, Suffix, Contains, Regex")
	}
	return m, nil
}

func (m *headerMatcher) match(r *Request, deny bool) bool {
	var one [1]string
	var values []string
	switch {
	case m.authority:
		one[0], values = r.Authority, one[:]
	case r.Headers != nil:
		values = r.Headers.Values(m.name)
	}
	if m.present {
		return (len(values) > 0) != m.invert
	}
	all, some := m.values(values)
	switch {
	case deny && m.invert: // denied unless all comply
		return !all
	case deny:
		return some
	case m.invert: // Envoy too wants a value that differs, not none
		return len(values) > 0 && !some
	}
	return all
}

// values reports whether all values comply, and whether some do. A value that an
// expression cannot be sure of does not comply, and might.
func (m *headerMatcher) values(values []string) (all, some bool) {
	all = len(values) > 0
	for _, v := range values {
		yes, maybe := m.value(v)
		all, some = all && yes, some || maybe
		if strings.Contains(v, ",") { // a list in one line is the same as several lines
			for e := range strings.SplitSeq(v, ",") {
				_, maybe := m.value(strings.Trim(e, " \t"))
				some = some || maybe
			}
		}
	}
	if len(values) > 1 { // Envoy looks at them as one
		yes, maybe := m.value(strings.Join(values, ","))
		all, some = all && yes, some || maybe
	}
	return all, some
}

func (m *headerMatcher) value(v string) (yes, maybe bool) {
	if m.regex == nil {
		yes = m.test(v)
		return yes, yes
	}
	if !utf8.ValidString(v) {
		return false, true
	}
	yes = m.regex.MatchString(v)
	return yes, yes
}

func lowerASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for j := range b {
				if c := b[j]; 'A' <= c && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// token reports whether s is a token of HTTP.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

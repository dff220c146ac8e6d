package chain

import (
	"fmt"
	"net/textproto"
	"regexp"
	"strings"
)

// maxPattern bounds a regular expression's text.
const maxPattern = 4096

// evalCompiler makes an Evaluator of a Chain.
type evalCompiler struct {
	c      *Chain
	opt    Options
	p      problems
	names  map[string]*headerName
	e      *Evaluator
	plans  int
	splits []*splitter
}

// name is the header of that name, the same for all that read it.
func (b *evalCompiler) name(s string) *headerName {
	low := strings.ToLower(s)
	if n := b.names[low]; n != nil {
		return n
	}
	n := &headerName{lower: low, canonical: textproto.CanonicalMIMEHeaderKey(s), index: len(b.names)}
	switch low {
	case ":method":
		n.pseudo = pseudoMethod
	case ":path":
		n.pseudo = pseudoPath
	case ":authority", "host":
		n.pseudo = pseudoAuthority
	default:
		if strings.HasPrefix(low, ":") {
			n.pseudo = pseudoUnknown
		}
	}
	b.names[low] = n
	return n
}

// pattern compiles a regular expression that must match the whole value, as
// Envoy's safe_regex.
func pattern(at, s string, fold bool) (*regexp.Regexp, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("resolver/chain: %s has %d bytes, over %d", at, len(s), maxPattern)
	}
	if _, err := regexp.Compile(s); err != nil { // by itself: ")(" is none
		return nil, fmt.Errorf("resolver/chain: %s is no RE2 expression: %w", at, err)
	}
	flags := ""
	if fold {
		flags = "(?i)"
	}
	re, err := regexp.Compile(flags + `\A(?:` + s + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("resolver/chain: %s is no RE2 expression: %w", at, err)
	}
	return re, nil
}

// matcher compiles a route's match. at is the field's path, router the entry.
func (b *evalCompiler) matcher(def *ServiceRoute, router, at string) (*matcher, error) {
	m := &matcher{}
	if def == nil || def.Match == nil || def.Match.HTTP == nil {
		return m, nil
	}
	h := def.Match.HTTP
	at += ".Match.HTTP"
	m.fold = h.CaseInsensitive
	set := 0
	for _, s := range []string{h.PathExact, h.PathPrefix, h.PathRegex} {
		if s != "" {
			set++
		}
	}
	if set > 1 {
		return nil, fmt.Errorf("resolver/chain: %s/%s: %s sets %d of PathExact, PathPrefix and PathRegex; set one", kindRouter, clip(router), at, set)
	}
	switch {
	case h.PathExact != "":
		m.kind, m.path = exactPath, h.PathExact
	case h.PathRegex != "":
		re, err := pattern(kindRouter+"/"+clip(router)+": "+at+".PathRegex", h.PathRegex, false)
		if err != nil {
			return nil, err
		}
		m.kind, m.re = regexPath, re
		if h.CaseInsensitive {
			b.p.add(kindRouter, router, at+".CaseInsensitive", "it has no effect on PathRegex, as in Envoy; begin the expression with (?i)")
		}
	case h.PathPrefix != "" && h.PathPrefix != "/":
		m.kind, m.path = prefixPath, h.PathPrefix
	}
	m.methods = h.Methods
	if err := b.headers(m, h.Header, router, at); err != nil {
		return nil, err
	}
	return m, b.query(m, h.QueryParam, router, at)
}

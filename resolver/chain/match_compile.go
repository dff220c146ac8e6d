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

// setOnce reports an error unless exactly one, or none, is set.
func setOnce(at string, set ...bool) (none bool, err error) {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	if n > 1 {
		return false, fmt.Errorf("resolver/chain: %s says %d ways to match; say one", at, n)
	}
	return n == 0, nil
}

func (b *evalCompiler) headers(m *matcher, list []HeaderMatch, router, at string) error {
	for i, h := range list {
		field := fmt.Sprintf("%s.Header[%d]", at, i)
		full := kindRouter + "/" + clip(router) + ": " + field
		if h.Name == "" {
			return fmt.Errorf("resolver/chain: %s.Name is empty", full)
		}
		none, err := setOnce(full, h.Present, h.Exact != "", h.Prefix != "", h.Suffix != "", h.Contains != "", h.Regex != "")
		if err != nil {
			return err
		}
		if none {
			b.p.add(kindRouter, router, field, "it says no way to match and is left out, as Consul does for Envoy; set Present, Exact, Prefix, Suffix, Contains or Regex")
			continue
		}
		hm := headerMatcher{name: b.name(h.Name), invert: h.Invert, value: valueMatcher{fold: h.IgnoreCase}}
		v := &hm.value
		switch {
		case h.Exact != "":
			v.kind, v.text = exactValue, h.Exact
		case h.Prefix != "":
			v.kind, v.text = prefixValue, h.Prefix
		case h.Suffix != "":
			v.kind, v.text = suffixValue, h.Suffix
		case h.Contains != "":
			v.kind, v.text = containsValue, h.Contains
		case h.Regex != "":
			v.kind = regexValue
			if v.re, err = pattern(full+".Regex", h.Regex, h.IgnoreCase); err != nil {
				return err
			}
		}
		if hm.name.pseudo == pseudoUnknown {
			b.p.add(kindRouter, router, field+".Name", "there is no pseudo-header "+clip(h.Name)+" here; it counts as absent")
		}
		if b.c.Protocol == "grpc" && hm.name.lower == "user-agent" {
			b.p.add(kindRouter, router, field+".Name", "gRPC adds user-agent after the route is chosen; it counts as absent in gRPC calls")
		}
		m.headers = append(m.headers, hm)
	}
	return nil
}

func (b *evalCompiler) query(m *matcher, list []QueryMatch, router, at string) error {
	for i, q := range list {
		field := fmt.Sprintf("%s.QueryParam[%d]", at, i)
		full := kindRouter + "/" + clip(router) + ": " + field
		if q.Name == "" {
			return fmt.Errorf("resolver/chain: %s.Name is empty", full)
		}
		none, err := setOnce(full, q.Present, q.Exact != "", q.Regex != "")
		if err != nil {
			return err
		}
		if none {
			b.p.add(kindRouter, router, field, "it says no way to match and is left out, as Consul does for Envoy; set Present, Exact or Regex")
			continue
		}
		qm := queryMatcher{name: q.Name}
		switch {
		case q.Exact != "":
			qm.value = valueMatcher{kind: exactValue, text: q.Exact}
		case q.Regex != "":
			qm.value.kind = regexValue
			if qm.value.re, err = pattern(full+".Regex", q.Regex, false); err != nil {
				return err
			}
		}
		m.query = append(m.query, qm)
	}
	return nil
}

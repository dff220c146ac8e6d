package chain

import (
	"regexp"
	"strings"
)

// valueKind says how a value is matched.
type valueKind uint8

const (
	anyValue valueKind = iota
	exactValue
	prefixValue
	suffixValue
	containsValue
	regexValue
)

// valueMatcher matches one value of a header or of a query parameter.
type valueMatcher struct {
	kind valueKind
	fold bool // not with regexValue: its pattern says so itself
	text string
	re   *regexp.Regexp
}

func (m *valueMatcher) match(v string) bool {
	n := len(m.text)
	switch m.kind {
	case anyValue:
		return true
	case exactValue:
		return v == m.text || m.fold && foldEqual(v, m.text)
	case prefixValue:
		return strings.HasPrefix(v, m.text) || m.fold && len(v) >= n && foldEqual(v[:n], m.text)
	case suffixValue:
		return strings.HasSuffix(v, m.text) || m.fold && len(v) >= n && foldEqual(v[len(v)-n:], m.text)
	case containsValue:
		return strings.Contains(v, m.text) || m.fold && foldContains(v, m.text)
	case regexValue:
		return m.re.MatchString(v)
	}
	return false
}

// headerMatcher is a compiled HeaderMatch.
type headerMatcher struct {
	name   *headerName
	value  valueMatcher
	invert bool
}

// match considers all values of the header. It holds if one of them matches, or,
// as in Envoy, all of them joined by commas: who adds a value does not get past a
// match. Inverted, it holds if none of these matches, so also without the header.
func (m *headerMatcher) match(rd *reading) bool {
	return m.holds(rd.header(m.name)) != m.invert
}

func (m *headerMatcher) holds(values []string) bool {
	for _, v := range values {
		if m.value.match(v) {
			return true
		}
	}
	if len(values) < 2 {
		return false
	}
	switch m.value.kind {
	case exactValue, containsValue, prefixValue, suffixValue:
		if !strings.Contains(m.value.text, ",") { // no value alone matches, so no list does
			return false
		}
	}
	return m.value.match(strings.Join(values, ","))
}

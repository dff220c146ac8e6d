package chain

import (
	"net/url"
	"strings"
)

// queryMatcher is a compiled QueryMatch.
type queryMatcher struct {
	name  string
	value valueMatcher
}

// match considers all values of the parameter, each as it is sent, which is what
// Envoy sees, and decoded, which is what the service sees.
func (m *queryMatcher) match(query string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name != m.name && decoded(name) != m.name {
			continue
		}
		if m.value.match(value) {
			return true
		}
		if d := decoded(value); d != value && m.value.match(d) {
			return true
		}
	}
	return false
}

// queryValue is the first value of a parameter.
func queryValue(query, name string) (string, bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if n, v, _ := strings.Cut(pair, "="); n == name || decoded(n) == name {
			return v, true
		}
	}
	return "", false
}

// decoded is s without its escapes, or s itself if they are broken.
func decoded(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

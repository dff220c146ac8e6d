package authz

import (
	"slices"
	"strings"
)

// identityNames are headers by which others convey who called. Here that is
// proven by the connection, so they are taken out of every request. They are folded.
var identityNames = []string{
	"x-forwarded-client-cert", "x-forwarded-client-cert-chain",
	"weft-caller", "weft-peer", "weft-identity", "weft-claims",
	"x-weft-caller", "x-weft-peer", "x-weft-identity", "x-weft-claims",
	"x-envoy-original-path", "x-envoy-internal", "x-envoy-peer-metadata", "x-envoy-peer-metadata-id",
	"l5d-client-id", "l5d-remote-ip", "l5d-server-id",
}

// The names that are looked at are at most as long as maxFold, and begin with one of
// firstFold: none of ours is other.
const (
	maxFold   = 40
	firstFold = "xwl"
)

// unwelcome reports whether a header may not reach a handler: one that conveys an
// identity, in any spelling, or one of ours in a spelling that a CGI-like layer
// behind us would take for the real one (weft_timeout).
func unwelcome(name string) bool {
	if name == "" || len(name) > maxFold || strings.IndexByte(firstFold, name[0]|0x20) < 0 {
		return false
	}
	var buf [maxFold]byte
	underscore := false
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c, underscore = '-', true
		}
		buf[i] = c
	}
	fold := buf[:len(name)]
	if slices.ContainsFunc(identityNames, func(n string) bool { return n == string(fold) }) {
		return true
	}
	return underscore && (strings.HasPrefix(string(fold), "weft-") || strings.HasPrefix(string(fold), "x-weft-"))
}

// hopNames reports whether a Connection header names a header that decides
// something here: a layer that obeys it would take that header out.
func hopNames(values []string) bool {
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			name = lowerASCII(strings.ReplaceAll(strings.TrimSpace(name), "_", "-"))
			if strings.HasPrefix(name, "weft-") || strings.HasPrefix(name, "x-weft-") ||
				slices.Contains(identityNames, name) || slices.Contains([]string{"authorization", "cookie", "host"}, name) {
				return true
			}
		}
	}
	return false
}

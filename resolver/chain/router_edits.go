package chain

import (
	"maps"
	"net/textproto"
	"slices"
	"strings"
)

// edits compiles header modifiers and appends them to the list.
func (b *evalCompiler) edits(to Edits, m *HeaderModifiers, kind, name, field string) Edits {
	if m == nil {
		return to
	}
	for _, h := range m.Remove {
		if low, ok := b.editable(h, kind, name, field+".Remove", true); ok {
			to = append(to, Edit{Remove, low, textproto.CanonicalMIMEHeaderKey(h), ""})
		}
	}
	for _, part := range []struct {
		op     EditOp
		name   string
		values map[string]string
	}{{Set, "Set", m.Set}, {Add, "Add", m.Add}} {
		for _, h := range slices.Sorted(maps.Keys(part.values)) {
			at := field + "." + part.name + "[" + h + "]"
			low, ok := b.editable(h, kind, name, at, false)
			if !ok {
				continue
			}
			if strings.ContainsAny(part.values[h], "\r\n\x00") {
				b.p.add(kind, name, at, "the value has control bytes; the header is not changed")
				continue
			}
			v, ok := literal(part.values[h])
			if !ok {
				b.p.add(kind, name, at, "the value has a variable of Envoy (%…%), which only Envoy knows; the header is not changed. Write %% for a percent sign")
				continue
			}
			to = append(to, Edit{part.op, low, textproto.CanonicalMIMEHeaderKey(h), v})
		}
	}
	return to
}

// editable reports whether a header may be edited.
func (b *evalCompiler) editable(h, kind, name, field string, remove bool) (string, bool) {
	low := strings.ToLower(h)
	switch {
	case !token(low):
		b.p.add(kind, name, field, "it is no header name; nothing is changed")
	case strings.HasPrefix(low, ":") || remove && low == "host":
		b.p.add(kind, name, field, "pseudo-headers are not changed, and host is not removed; use PrefixRewrite for the path")
	case b.c.Protocol == "grpc" && (strings.HasPrefix(low, "grpc-") || low == "content-type" || low == "te"):
		b.p.add(kind, name, field, "the header is gRPC's own; it is not changed")
	default:
		return low, true
	}
	return "", false
}

// token reports whether s, in lower case, may be the name of a header.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 || c == ':' && i == 0) {
			return false
		}
	}
	return s != "" && s != ":"
}

// literal is a value of Envoy's format without variables.
func literal(s string) (string, bool) {
	plain := strings.ReplaceAll(s, "%%", "\x00")
	if strings.ContainsRune(plain, '%') {
		return "", false
	}
	return strings.ReplaceAll(plain, "\x00", "%"), true
}

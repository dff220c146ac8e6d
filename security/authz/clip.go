package authz

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxForeign is how many bytes of text from outside go into one message.
const maxForeign = 256

// clip makes text from outside safe to print: one line, at most maxForeign bytes,
// nothing but printable characters.
func clip(s string) string {
	if len(s) <= maxForeign && printable(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		q := s[i : i+n]
		if !printableRune(r) {
			q = strconv.QuoteToASCII(q)
			q = q[1 : len(q)-1]
		}
		if b.Len()+len(q) > maxForeign-len("…") {
			b.WriteString("…")
			break
		}
		b.WriteString(q)
		i += n
	}
	return b.String()
}

func printable(s string) bool {
	for _, r := range s {
		if !printableRune(r) {
			return false
		}
	}
	return true
}

func printableRune(r rune) bool { return r != utf8.RuneError && strconv.IsPrint(r) }

// Package foreign makes text from outside safe to print.
package foreign

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Max is how many bytes of text from outside go into one message.
const Max = 256

// Clip is Escape to Max bytes.
func Clip(s string) string { return Escape(s, Max) }

// Escape makes text one line of at most limit bytes, with nothing but printable
// characters in it.
func Escape(s string, limit int) string {
	if len(s) <= limit && Printable(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		q := s[i : i+n]
		if unprintable(r) {
			q = strconv.QuoteToASCII(q)
			q = q[1 : len(q)-1]
		}
		if b.Len()+len(q) > limit-len("…") {
			b.WriteString("…")
			break
		}
		b.WriteString(q)
		i += n
	}
	return b.String()
}

// Printable reports whether Escape leaves s as it is, but for its length.
func Printable(s string) bool { return !strings.ContainsFunc(s, unprintable) }

func unprintable(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }

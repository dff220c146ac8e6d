package foreign

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      "",
		"spiffe://a/b":          "spiffe://a/b",
		"a\nb\x00":              `a\nb\x00`,
		"a\nb\u2028c":           `a\nb\u2028c`,
		"\xff":                  `\xff`,
		"é":                     "é",
		strings.Repeat("x", 16): strings.Repeat("x", 16),
		strings.Repeat("x", 17): strings.Repeat("x", 13) + "…",
		strings.Repeat("\n", 9): strings.Repeat(`\n`, 6) + "…",
	} {
		if got := Escape(in, 16); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("a\nb\xff" + strings.Repeat("é", 200))
	f.Fuzz(func(t *testing.T, s string) {
		got := Clip(s)
		if len(got) > Max || !utf8.ValidString(got) || !Printable(got) || Clip(got) != got {
			t.Errorf("%q is %q", s, got)
		}
	})
}

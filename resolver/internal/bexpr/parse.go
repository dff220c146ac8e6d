package bexpr

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"
)

// Bounds of a filter: of its text, of the parser's steps, and of nested brackets.
const (
	MaxLength = 8192
	maxSteps  = 200_000
	maxDepth  = 16
)

// Parse checks a filter's syntax, and gives its tree.
//
// Consul has an older version of the language than the parser. What only the newer
// one knows is refused here, or by Compile, and what it reads otherwise is rewritten
// first.
func Parse(expr string) (grammar.Expression, error) {
	if len(expr) > MaxLength {
		return nil, fmt.Errorf("%d bytes, over %d", len(expr), MaxLength)
	}
	text, err := dialect(expr)
	if err != nil {
		return nil, fmt.Errorf("it is no bexpr expression: %w", err)
	}
	tree, err := grammar.Parse("", []byte(text), grammar.MaxExpressions(maxSteps))
	if err != nil {
		return nil, fmt.Errorf("it is no bexpr expression: %w", err)
	}
	e, ok := tree.(grammar.Expression)
	if !ok {
		return nil, errors.New("it is no bexpr expression")
	}
	return e, nil
}

// dialect is the text for the newer parser, which takes "/a/b" in quotes for a JSON
// pointer and drops its first slash: what is in quotes is quoted so that it is text.
// It refuses the slashes and the numbers that the newer language has in selectors, and
// finds brackets that do not match, for which the parser needs exponential time.
func dialect(s string) (string, error) {
	var out strings.Builder
	depth := 0
	word := byte(0) // what the run of letters, digits and dots before i begins with
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"' || c == '`':
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				return "", errors.New("a quote is not closed")
			}
			text := s[i+1 : i+1+end]
			if c == '"' && !strings.ContainsAny(text, "\\`\r\n") {
				out.WriteString("`" + text + "`")
			} else {
				out.WriteString(s[i : i+end+2])
			}
			i += 1 + end
			word = 0
			continue
		case c == '/':
			return "", errors.New("a slash outside of quotes")
		case c == '.' && (letter(word) || word == ']') && i+1 < len(s) && digit(s[i+1]):
			return "", errors.New("a number in a selector; write [\"1\"]")
		case c == '(':
			if depth++; depth > maxDepth {
				return "", fmt.Errorf("brackets are nested more than %d deep", maxDepth)
			}
		case c == ')':
			if depth--; depth < 0 {
				return "", errors.New("a bracket is closed that was not opened")
			}
		}
		switch {
		case c == ']':
			word = c
		case !letter(c) && !digit(c) && c != '.' && c != '_':
			word = 0
		case word == 0:
			word = c
		}
		out.WriteByte(c)
	}
	if depth > 0 {
		return "", errors.New("a bracket is not closed")
	}
	return out.String(), nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

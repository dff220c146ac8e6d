package authz

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrAmbiguous is why a request is refused whose path or method could be read in
// more than one way.
var ErrAmbiguous = errors.New("ambiguous request")

// Normalize decodes a path as it stands in a request line, once, and returns the
// only spelling that rules are matched with and that the router may see. It
// refuses what another parser could take for a different path: an encoded slash,
// dot, percent sign or backslash, control bytes, "\", ";", "#", "//", dot segments,
// broken escapes, bytes that are no UTF-8, and a path that does not begin with a slash.
//
// It is idempotent. It does not allocate unless something is to be decoded.
func Normalize(path string) (string, error) {
	if path == "" || path[0] != '/' {
		return "", fmt.Errorf("%w: the path does not begin with a slash", ErrAmbiguous)
	}
	escaped := false
	for i := range len(path) {
		switch c := path[i]; {
		case c == '%':
			escaped = true
		case c < ' ' || c == 0x7f || c == '\\' || c == ';' || c == '#' || c == '?':
			return "", fmt.Errorf("%w: byte 0x%02x in the path", ErrAmbiguous, c)
		}
	}
	if escaped {
		var err error
		if path, err = decode(path); err != nil {
			return "", err
		}
	}
	if strings.Contains(path, "//") {
		return "", fmt.Errorf("%w: empty segment in the path", ErrAmbiguous)
	}
	if dotted(path) {
		return "", fmt.Errorf("%w: dot segment in the path", ErrAmbiguous)
	}
	if !utf8.ValidString(path) {
		return "", fmt.Errorf("%w: the path is not UTF-8", ErrAmbiguous)
	}
	return path, nil
}

// decode resolves the escapes of a path.
func decode(path string) (string, error) {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' {
			out = append(out, c)
			continue
		}
		if i+2 >= len(path) {
			return "", fmt.Errorf("%w: broken escape in the path", ErrAmbiguous)
		}
		hi, lo := unhex(path[i+1]), unhex(path[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("%w: broken escape in the path", ErrAmbiguous)
		}
		i += 2
		c = byte(hi<<4 | lo)
		if c < ' ' || c == 0x7f || strings.IndexByte(`/.\;%?#`, c) >= 0 {
			return "", fmt.Errorf("%w: escaped byte 0x%02x in the path", ErrAmbiguous, c)
		}
		out = append(out, c)
	}
	return string(out), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// dotted reports whether a segment is "." or "..".
func dotted(path string) bool {
	for i := 0; ; {
		j := strings.Index(path[i:], "/.")
		if j < 0 {
			return false
		}
		i += j + 2
		rest := path[i:]
		if rest == "" || rest[0] == '/' || rest == "." || strings.HasPrefix(rest, "./") {
			return true
		}
	}
}

// checkMethod refuses the methods that a rule on an upper-case name would not see.
func checkMethod(method string) error {
	if method == "" {
		return fmt.Errorf("%w: no method", ErrAmbiguous)
	}
	for i := range len(method) {
		if c := method[i]; (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return fmt.Errorf("%w: the method is not in upper case", ErrAmbiguous)
		}
	}
	return nil
}

// CheckGRPCPath refuses what is not exactly /package.Service/Method in ASCII.
func CheckGRPCPath(path string) error {
	slashes := 0
	for i := range len(path) {
		c := path[i]
		switch {
		case c == '/':
			slashes++
			if i+1 == len(path) || i > 0 && path[i-1] == '/' {
				return fmt.Errorf("%w: not /package.Service/Method", ErrAmbiguous)
			}
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`%;\?#`, c) >= 0:
			return fmt.Errorf("%w: byte 0x%02x in the method's name", ErrAmbiguous, c)
		}
	}
	if slashes != 2 || path[0] != '/' || dotted(path) {
		return fmt.Errorf("%w: not /package.Service/Method", ErrAmbiguous)
	}
	return nil
}

func ambiguousText(why string) error { return fmt.Errorf("%w: %s", ErrAmbiguous, why) }

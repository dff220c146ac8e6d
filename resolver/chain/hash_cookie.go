package chain

import (
	"strings"
	"time"
)

// Cookie is a cookie that a response is to set, so that the caller's next requests
// have the same hash key.
type Cookie struct {
	// Name, Value and Path are the cookie's; an empty Path is left out.
	Name, Value, Path string
	// TTL is how long it holds. 0: for the session.
	TTL time.Duration
}

// cookieValue finds a cookie in the value of a header cookie.
func cookieValue(line, name string) (string, bool) {
	for line != "" {
		var pair string
		pair, line, _ = strings.Cut(line, ";")
		n, v, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if ok && n == name {
			if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			return v, true
		}
	}
	return "", false
}

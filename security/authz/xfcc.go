package authz

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
)

// ForwardedCert is the header in which a mesh gateway says whose request it
// passes on. From anybody else it means nothing and is taken out.
const ForwardedCert = "X-Forwarded-Client-Cert"

// isGateway reports whether an identity is of Consul's form for mesh gateways.
func isGateway(id security.PeerID) bool {
	path := id.Path()
	if rest, ok := strings.CutPrefix(path, "/ap/"); ok {
		if _, path, ok = cutSegment(rest); !ok {
			return false
		}
	}
	dc, ok := strings.CutPrefix(path, "/gateway/mesh/dc/")
	return ok && dc != "" && !strings.Contains(dc, "/")
}

// forwarded is who a gateway says the caller was: the URI of the first element.
func forwarded(gateway security.PeerID, values []string) (security.PeerID, error) {
	if len(values) != 1 {
		return security.PeerID{}, fmt.Errorf("a mesh gateway sent the header %s %d times, want once", ForwardedCert, len(values))
	}
	uri, by, err := firstElement(values[0])
	if err != nil {
		return security.PeerID{}, err
	}
	if by != "" && by != gateway.String() {
		return security.PeerID{}, errors.New("the forwarded certificate was not seen by the gateway that sent it")
	}
	id, err := spiffeid.FromString(uri)
	if err != nil || id.Path() == "" || len(uri) > 2048 {
		return security.PeerID{}, errors.New("the forwarded certificate has no SPIFFE ID")
	}
	if id.TrustDomain() == gateway.TrustDomain() {
		return security.PeerID{}, errors.New("a mesh gateway speaks for callers of other trust domains only")
	}
	return security.PeerID{ID: id}, nil
}

// firstElement reads the first of the comma-separated elements of the header, each
// a list of key=value with values that may be quoted.
func firstElement(s string) (uri, by string, err error) {
	if len(s) > 64<<10 {
		return "", "", errors.New("the forwarded certificate is too long")
	}
	seen := map[string]bool{}
	for more := true; more; {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return "", "", errors.New("the forwarded certificate cannot be read")
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			end := 1
			for end < len(rest) && rest[end] != '"' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(rest) {
				return "", "", errors.New("the forwarded certificate cannot be read")
			}
			value, rest = rest[1:end], rest[end+1:]
		} else {
			end := strings.IndexAny(rest, ";,")
			if end < 0 {
				end = len(rest)
			}
			value, rest = rest[:end], rest[end:]
		}
		key = lowerASCII(strings.TrimSpace(key))
		if seen[key] && key != "dns" {
			return "", "", errors.New("the forwarded certificate says something twice")
		}
		seen[key] = true
		switch key {
		case "uri":
			uri = value
		case "by":
			by = value
		}
		switch more = strings.HasPrefix(rest, ";"); {
		case more:
			s = rest[1:]
		case rest != "" && rest[0] != ',':
			return "", "", errors.New("the forwarded certificate cannot be read")
		}
	}
	return uri, by, nil
}

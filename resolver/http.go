package resolver

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// ServiceOf is the service that a URL of the mesh names: the host of
// "http://payments/items/7" is "payments". The scheme is http or https; both mean
// the same, because the mesh decides about encryption. Refused are a URL without
// a host, an IP address, user information, and a port: the port of each endpoint
// is the catalog's to say.
//
// Errors name the host at most, never the rest of the URL.
func ServiceOf(u *url.URL) (string, error) {
	if u == nil {
		return "", fmt.Errorf("resolver: no URL; use http://service/path")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("resolver: scheme %q of a mesh URL is not http or https; use http://service/path", clip(u.Scheme))
	case u.User != nil:
		return "", fmt.Errorf("resolver: a mesh URL must not have user information; use http://service/path")
	case host == "":
		return "", fmt.Errorf("resolver: a mesh URL needs a service as its host; use http://service/path")
	case u.Port() != "" || u.Host != host:
		if !isAddr(host) {
			return "", fmt.Errorf("resolver: a mesh URL must not have a port, but %q has; the catalog knows the ports of %q", clip(u.Host), clip(host))
		}
	}
	if isAddr(host) {
		return "", fmt.Errorf("resolver: %q is an IP address, and a mesh URL names a service; use an ordinary HTTP client for addresses", clip(host))
	}
	if err := CheckService(host); err != nil {
		return "", fmt.Errorf("resolver: host of a mesh URL: %w", err)
	}
	return host, nil
}

// isAddr reports whether a host is an IP address. Most are not, and few begin like one:
// the error that says so would be an allocation.
func isAddr(host string) bool {
	if c := host[0]; (c < '0' || c > '9') && strings.IndexByte(host, ':') < 0 {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

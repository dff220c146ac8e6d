package chain

import (
	"net/http"
	"net/url"
)

// httpHeaders reads the headers of an HTTP request.
type httpHeaders http.Header

func (h httpHeaders) Values(lower, canonical string) []string {
	if v, ok := h[canonical]; ok {
		return v
	}
	return h[lower] // put there by hand; it is sent as well
}

// HTTPRequest is what a chain reads of r. It makes no copy of the headers.
func HTTPRequest(r *http.Request) Request {
	q := Request{Method: r.Method, Authority: r.Host, Header: httpHeaders(r.Header)}
	if r.Method == "" {
		q.Method = http.MethodGet
	}
	if r.URL != nil {
		q.Path, q.Query = r.URL.EscapedPath(), r.URL.RawQuery
		if r.Host == "" {
			q.Authority = r.URL.Host
		}
	}
	return q
}

// ApplyHTTP changes headers; those of a request that is about to be sent must be the
// caller's own copy. It gives the host to send if an edit sets it, or
// nothing.
func (e Edits) ApplyHTTP(h http.Header) (host string) {
	for i := range e {
		x := &e[i]
		switch {
		case x.Name == "host":
			host = x.Value
		case x.Op == Remove:
			delete(h, x.Canonical)
		case x.Op == Set:
			h[x.Canonical] = []string{x.Value}
		default:
			h[x.Canonical] = append(h[x.Canonical], x.Value)
		}
	}
	return host
}

// RewriteURL is the URL with the path that the plan sends; u itself if it is the same.
func (p *Plan) RewriteURL(u *url.URL) *url.URL {
	if !p.Rewrites() {
		return u
	}
	path := p.Rewrite(u.EscapedPath())
	plain, err := url.PathUnescape(path)
	if err != nil { // neither part is broken
		return u
	}
	c := *u
	c.Path, c.RawPath = plain, path
	return &c
}

// HTTP is the cookie for a response's Set-Cookie.
func (c *Cookie) HTTP() *http.Cookie {
	return &http.Cookie{Name: c.Name, Value: c.Value, Path: c.Path, MaxAge: int(c.TTL.Seconds()), HttpOnly: true}
}

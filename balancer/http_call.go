package balancer

import "net/http"

// httpCall is a call and the request that carries it; one allocation for both.
type httpCall struct {
	callContext
	req http.Request
}

type ownKey struct{}

func (c *httpCall) Value(key any) any {
	if key == (ownKey{}) {
		return &c.req
	}
	return c.callContext.Value(key)
}

// Owns tells the layers of the mesh that they may change the fields of a request instead
// of those of another copy.
func (c *httpCall) Owns(req *http.Request) bool { return req == &c.req }

// NewHTTPCall is [NewCall] for a request: a copy of it whose context carries the call.
// The copy's fields are the caller's to change before it is sent, and what it is sent
// through changes them too: its URL, header and body are of no use afterwards, nor is
// Response.Request. What they point to, as req's URL and header, is never changed.
func NewHTTPCall(req *http.Request, service string) (*http.Request, *Call) {
	c := &httpCall{}
	c.begin(req.Context(), service, req.Method)
	c.call.Path = req.URL.Path
	c.req = *req.WithContext(c)
	return &c.req, &c.call
}

package balancer

import "net/http"

// httpCall is a call and the request that carries it; one allocation for both.
type httpCall struct {
	callContext
	req http.Request
}

// NewHTTPCall is [NewCall] for a request: a copy of it whose context carries the call.
// The copy's fields are the caller's to change before it is sent; what they point to,
// as its URL and header, is still that of req.
func NewHTTPCall(req *http.Request, service string) (*http.Request, *Call) {
	c := &httpCall{}
	c.begin(req.Context(), service, req.Method)
	c.call.Path = req.URL.Path
	c.req = *req.WithContext(&c.callContext)
	return &c.req, &c.call
}

package authz

import (
	"net/http"
)

// EgressTransport lets requests through to next whose host may be called; others
// fail with ErrEgress before anything is sent, a name's look-up included. Redirects
// are judged like requests, because a client sends each through its transport.
//
// The names of the mesh are not among the hosts: put it under clients that talk to
// the outside only. next must not be nil; give an http.Transport Egress.Dial as its
// DialContext, so that no allowed name leads to this machine. What next does with a
// proxy is its own matter.
func EgressTransport(e *Egress, next http.RoundTripper) http.RoundTripper {
	return &egressTransport{e, next}
}

type egressTransport struct {
	e    *Egress
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *egressTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	host, port := req.URL.Hostname(), req.URL.Port()
	if port == "" {
		port = "80"
		if req.URL.Scheme == "https" {
			port = "443"
		}
	}
	if err := t.e.Check(host, port); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper must, also when it fails
		}
		return nil, err
	}
	return t.next.RoundTrip(req)
}

// CloseIdleConnections is for http.Client.CloseIdleConnections.
func (t *egressTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

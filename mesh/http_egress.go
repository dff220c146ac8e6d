package mesh

import (
	"context"
	"net"
	"net/http"

	"github.com/weft-mesh/weft/security/authz"
)

// openOutside puts the way to hosts outside the mesh beside the way to members.
func (m *Mesh) openOutside(members http.RoundTripper) http.RoundTripper {
	if !m.cfg.Egress.on() {
		return members
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            m.egress.Dial(net.Dialer{Timeout: m.cfg.ConnectTimeout}),
		TLSHandshakeTimeout:    m.cfg.ConnectTimeout,
		IdleConnTimeout:        httpIdleTimeout,
		MaxResponseHeaderBytes: maxHeaderList,
		ForceAttemptHTTP2:      true,
	}
	m.onLeave(func(context.Context) error { t.CloseIdleConnections(); return nil })
	return &fork{cfg: m.cfg, members: members, outside: authz.EgressTransport(m.egress, t)}
}

// fork sends requests to members or outside. What goes outside has nothing of the mesh:
// neither its identity nor its headers, policies or telemetry.
type fork struct {
	cfg              *resolved
	members, outside http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f *fork) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Hostname()
	if !f.cfg.outside(host) {
		if from := req.Response; from != nil && from.Request != nil && f.cfg.outside(from.Request.URL.Hostname()) {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, &Error{Op: "http", Service: host, Err: errInward}
		}
		return f.members.RoundTrip(req)
	}
	resp, err := f.outside.RoundTrip(req)
	if err != nil {
		return nil, &Error{Op: "http", Service: host, Err: err}
	}
	return resp, nil
}

// CloseIdleConnections is for http.Client.CloseIdleConnections.
func (f *fork) CloseIdleConnections() {
	for _, t := range []http.RoundTripper{f.members, f.outside} {
		if c, ok := t.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

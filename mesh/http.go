package mesh

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// HTTPClient returns the client of the mesh: http://inventory/items/7 reaches a
// service named inventory over mutual TLS. The scheme may be http or https; the
// connection is mutual TLS in both cases. It follows redirects within the mesh only;
// hosts outside, and redirects to them, are for Config.Egress to allow. It has the
// timeout of the service's policy, and is shared: copy it before changing it.
func (m *Mesh) HTTPClient() *http.Client { return m.http.client }

// sender sends HTTP requests: a name for the files that know no transport.
type sender = http.RoundTripper

// httpFace is what the mesh keeps of HTTP.
type httpFace struct{ client *http.Client }

func (m *Mesh) openHTTP() error {
	t, err := balancer.NewTransport(balancer.TransportConfig{
		Catalog:     m.to.routed(resolver.Filter(m.catalog, m.noticing(servesHTTP))),
		Balancer:    m.cfg.Balancer,
		BalancerFor: m.to.balancerFor,
		LaneFor:     m.to.laneFor,
		TLS: func(e *resolver.Endpoint) (*tls.Config, error) {
			return security.ClientTLS(m.identity, m.peerID(e))
		},
		TLSClient:      m.identity.Client,
		ConnectTimeout: m.cfg.ConnectTimeout,
		DialContext:    m.cfg.DialContext,
	})
	if err != nil {
		return err
	}
	m.onLeave(t.Close)
	m.onLeave(func(context.Context) error { m.to.endCopies(); return nil }) // before t waits for them
	m.to.http = m.watch.attempts(t)
	m.http.client = &http.Client{Transport: m.openOutside(&roundTripper{to: m.to, next: t})}
	return nil
}

// servesHTTP keeps the endpoints that an HTTP connection can use.
func servesHTTP(e *resolver.Endpoint) bool {
	return e.Protocol == "" || e.Protocol == "http" || e.Protocol == "http2" || e.Protocol == "tcp"
}

// roundTripper is all that a request passes, in the order of layers.go.
type roundTripper struct {
	to   *destinations
	next *balancer.Transport
}

func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	service := req.URL.Hostname()
	out, call := balancer.NewHTTPCall(req, service)
	to := t.to.of(service)
	w := to.seen.request(out.Context(), req)
	ctx, span := w.begin(out.Context(), req)
	if ctx != out.Context() {
		out = out.WithContext(ctx)
	}
	d, err := to.request(call, out)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		w.end(ctx, req, call, span, nil, err)
		return nil, callError("http", call, err)
	}
	w.send(out, span)
	d.mirrorHTTP(out)
	resp, err := d.http.RoundTrip(out)
	w.end(ctx, req, call, span, resp, err)
	if err != nil {
		return nil, callError("http", call, err)
	}
	resp.Request = req // out is changed on its way
	d.response(resp)
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pools.
func (t *roundTripper) CloseIdleConnections() { t.next.CloseIdleConnections() }

// WithHashKey gives a call a key, such as a user's id. Calls with one key go to one
// endpoint under the policies RingHash and Maglev, and to one branch of a
// service-splitter, so that a share of the traffic is a share of the users.
func WithHashKey(ctx context.Context, key string) context.Context {
	ctx = context.WithValue(ctx, keyKey{}, key)
	return balancer.WithHash(ctx, balancer.HashString(key))
}

type keyKey struct{}

// stickyKey is the key of WithHashKey, or empty.
func stickyKey(ctx context.Context) string {
	key, _ := ctx.Value(keyKey{}).(string)
	return key
}

package mesh

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// HTTPClient returns the client of the mesh: http://inventory/items/7 reaches a
// service named inventory over mutual TLS. The scheme may be http or https; the
// connection is mutual TLS in both cases. It follows redirects within the mesh
// only, has the timeout of the service's policy, and is shared: copy it before
// changing it.
func (m *Mesh) HTTPClient() *http.Client { return m.http.client }

// sender sends HTTP requests: a name for the files that know no transport.
type sender = http.RoundTripper

// httpFace is what the mesh keeps of HTTP.
type httpFace struct{ client *http.Client }

func (m *Mesh) openHTTP() error {
	t, err := balancer.NewTransport(balancer.TransportConfig{
		Catalog:     resolver.Filter(m.catalog, m.noticing(servesHTTP)),
		Balancer:    m.cfg.Balancer,
		BalancerFor: func(service string) balancer.Config { return m.to.of(service).balancer },
		TLS: func(e *resolver.Endpoint) (*tls.Config, error) {
			return security.ClientTLS(m.identity, m.peerID(e))
		},
		ConnectTimeout: m.cfg.ConnectTimeout,
		DialContext:    m.cfg.DialContext,
	})
	if err != nil {
		return err
	}
	m.onLeave(t.Close)
	survive, err := resilience.NewHTTPClient(m.watch.attempts(t), resilience.HTTPClientConfig{
		LoopFor: func(service string) *resilience.Loop { return m.to.of(service).loop },
	})
	if err != nil {
		return err
	}
	m.to.http = survive
	m.http.client = &http.Client{Transport: &roundTripper{to: m.to, next: survive}}
	return nil
}

// servesHTTP keeps the endpoints that an HTTP connection can use.
func servesHTTP(e *resolver.Endpoint) bool {
	return e.Protocol == "" || e.Protocol == "http" || e.Protocol == "http2" || e.Protocol == "tcp"
}

// roundTripper is all that a request passes, in the order of layers.go.
type roundTripper struct {
	to   *destinations
	next *resilience.HTTPClient
}

func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	service := req.URL.Hostname()
	ctx, call := balancer.NewCall(req.Context(), service, req.Method)
	call.Path = req.URL.Path
	to := t.to.of(service)
	resp, err := to.seen.roundTrip(to.http, req, ctx, call)
	if err != nil {
		return nil, callError("http", call, err)
	}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pools.
func (t *roundTripper) CloseIdleConnections() { t.next.CloseIdleConnections() }

// WithHashKey gives a call the key of the RingHash and Maglev policies, so that
// calls with one key go to one endpoint. It has no effect on other policies.
func WithHashKey(ctx context.Context, key string) context.Context {
	return balancer.WithHash(ctx, balancer.HashString(key))
}

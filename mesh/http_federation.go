package mesh

import (
	"log/slog"
	"net/http"

	"github.com/weft-mesh/weft/security/bundleendpoint"
)

// NewBundleServer returns a server that gives our trust domain's bundle to whoever asks, so
// that others can federate with us (bundleendpoint.Config with this process's SPIFFE ID
// as EndpointID). It is no server for calls: it presents our identity, and asks for
// none. Serve it with its own ServeTLS(listener, "", ""), and end it with its Shutdown.
func (m *Mesh) NewBundleServer() (*http.Server, error) {
	own, err := m.identity.GetX509SVID()
	if err != nil {
		return nil, &Error{Op: "serve", Service: m.cfg.Service, Err: err}
	}
	h, err := bundleendpoint.Handler(bundleendpoint.HandlerConfig{
		TrustDomain: own.ID.TrustDomain().Name(), X509: m.identity, Logger: m.log,
	})
	if err != nil {
		return nil, &Error{Op: "serve", Service: m.cfg.Service, Err: err}
	}
	conf, err := bundleendpoint.ServerTLS(m.identity)
	if err != nil {
		return nil, &Error{Op: "serve", Service: m.cfg.Service, Err: err}
	}
	return &http.Server{
		Handler:           h,
		TLSConfig:         conf,
		ReadHeaderTimeout: readHeaderTimeout, // bounds the TLS handshake too
		ReadTimeout:       readHeaderTimeout,
		WriteTimeout:      readHeaderTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    maxHeaderList,
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}, nil
}

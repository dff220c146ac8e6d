package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"

	"github.com/weft-mesh/weft/internal/coalesce"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

// NewHTTPServer returns a server with the mesh's identity, callers' identities
// verified and authorized, and sane limits, for HTTP/1.1 and HTTP/2. Change its fields before
// Serve; leave TLSConfig alone.
func (m *Mesh) NewHTTPServer(h http.Handler) (*http.Server, error) {
	cfg, err := security.HTTPServerTLS(m.identity, m.mayConnect(), m.rejected)
	if err != nil {
		return nil, &Error{Op: "serve", Service: m.cfg.Service, Err: err}
	}
	return &http.Server{
		Handler:           m.guard(h),
		TLSConfig:         cfg,
		ReadHeaderTimeout: readHeaderTimeout, // bounds the TLS handshake too
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    maxHeaderList,
		// What net/http would print, handshakes that fail for the most part.
		ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}, nil
}

// guard puts in front of a handler what NewGRPCServer puts in front of its, in the
// same order.
func (m *Mesh) guard(h http.Handler) http.Handler {
	h = m.watch.route(h)
	h = ageing{h}
	h = resilience.NewHTTPInbound(markMirrored(h), resilience.InboundConfig{Service: m.cfg.Service, Deadline: m.from.deadline})
	h = resilience.NewHTTPServerGates(h, resilience.HTTPServerConfig{Service: m.cfg.Service, Gates: slices.Concat(m.from.sheds, m.from.gates), Logger: m.log})
	h = authz.HTTPHandler(m.authorizer, h)
	return roomFor{m.watch.serveHTTP(h)} // outermost: it sees what the caller gets
}

// roomFor has room on the stack for the layers and their handler: see roomy.
type roomFor struct{ next http.Handler }

func (r roomFor) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	roomy(false)
	r.next.ServeHTTP(w, req)
}

// httpServer is how Serve runs a server of NewHTTPServer.
func (m *Mesh) httpServer(srv *http.Server) (*server, error) {
	if srv.TLSConfig == nil {
		return nil, errors.New("mesh: this *http.Server has no TLSConfig; make it with Mesh.NewHTTPServer")
	}
	return &server{
		protocol: "http",
		serve: func(l net.Listener) error {
			m.boundAge(srv)
			srv.ConnState = coalesce.ConnState(srv.ConnState)
			if err := srv.Serve(m.identity.PermissiveListener(coalesce.Listener(l), httpTLS(srv), m.permissive())); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		// Keep-alives stay on until the catalog has let go: closing idle connections
		// now would race with callers who still choose them.
		ready: func(bool) {},
		drain: func(ctx context.Context) error {
			err := srv.Shutdown(ctx)
			if err != nil {
				_ = srv.Close()
			}
			return err
		},
		cut: func() { _ = srv.Close() },
	}, nil
}

// serverOf tells a gRPC server from an HTTP server.
func (m *Mesh) serverOf(srv any) (*server, error) {
	if srv, ok := srv.(*http.Server); ok {
		return m.httpServer(srv)
	}
	return m.grpcServerOf(srv)
}

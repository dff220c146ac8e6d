package bundleendpoint

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
)

// HandlerConfig says which bundle is served. TrustDomain and X509 are required.
type HandlerConfig struct {
	// TrustDomain is whose bundle is served: our own. Empty is refused.
	TrustDomain string
	// X509 has the bundle; a security.Source does. It is asked for each request. nil is refused.
	X509 x509bundle.Source
	// JWT has the keys of JWT-SVIDs; a workload.Source does. nil: they are left out.
	JWT jwtbundle.Source
	// RefreshHint is how often others should fetch, in whole seconds. 0: 5 min.
	RefreshHint time.Duration
	// Sequence numbers the bundle: it must grow with each change, and be the same in all
	// processes that serve one address, or readers refuse what is older. nil: no number.
	Sequence func() uint64
	// Logger gets the events. nil discards them.
	Logger *slog.Logger
}

type handler struct {
	cfg HandlerConfig
	td  spiffeid.TrustDomain
}

// Handler serves a bundle at each path that it is given. It answers GET and HEAD, asks
// for no authentication, as the standard wants it, and tells nothing but the bundle. While
// there is none, or an empty one, it answers 503: readers then keep what they have.
//
// It must be served by TLS: with a certificate for its host (profile https_web), or
// with ServerTLS (https_spiffe).
func Handler(cfg HandlerConfig) (http.Handler, error) {
	h := &handler{cfg: cfg}
	var err error
	if h.td, err = spiffeid.TrustDomainFromString(cfg.TrustDomain); err != nil || h.td.Name() != cfg.TrustDomain {
		return nil, fmt.Errorf("bundleendpoint: HandlerConfig.TrustDomain %.200q is not the name of a trust domain", cfg.TrustDomain)
	}
	if cfg.X509 == nil {
		return nil, errors.New("bundleendpoint: HandlerConfig.X509 is nil, want the source of the bundle")
	}
	if cfg.RefreshHint < 0 || cfg.RefreshHint%time.Second != 0 {
		return nil, fmt.Errorf("bundleendpoint: HandlerConfig.RefreshHint is %v, want whole seconds, 0 or more", cfg.RefreshHint)
	}
	if cfg.RefreshHint == 0 {
		h.cfg.RefreshHint = DefaultRefresh
	}
	if cfg.Logger == nil {
		h.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET only", http.StatusMethodNotAllowed)
		return
	}
	doc, err := h.document()
	if err != nil {
		h.cfg.Logger.Warn("bundle.unserved", "trust_domain", h.td.Name(), "error", err)
		http.Error(w, "no bundle at this time", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(doc) // the reader may have gone
}

func (h *handler) document() ([]byte, error) {
	roots, err := h.cfg.X509.GetX509BundleForTrustDomain(h.td)
	switch {
	case err != nil:
		return nil, err
	case roots == nil || roots.Empty() || roots.TrustDomain() != h.td:
		return nil, errors.New("bundleendpoint: the source has an empty bundle, or one of another trust domain")
	}
	b := spiffebundle.FromX509Bundle(roots)
	if h.cfg.JWT != nil {
		keys, err := h.cfg.JWT.GetJWTBundleForTrustDomain(h.td)
		if err != nil {
			return nil, err // without them others would stop to trust our tokens
		}
		b.SetJWTAuthorities(keys.JWTAuthorities())
	}
	b.SetRefreshHint(h.cfg.RefreshHint)
	if h.cfg.Sequence != nil {
		b.SetSequenceNumber(h.cfg.Sequence())
	}
	return b.Marshal()
}

// ServerTLS is for a server of the profile https_spiffe: it presents the SVID of src,
// whose ID others configure as EndpointID, and asks clients for no certificate, as the
// standard wants it. Serve nothing else with it. It fails if src is nil.
func ServerTLS(src security.Source) (*tls.Config, error) {
	cfg, err := security.ServerTLS(src, nil)
	if err != nil {
		return nil, err
	}
	cfg.MinVersion = tls.VersionTLS12 // who reads it is not of the mesh
	cfg.ClientAuth, cfg.VerifyConnection = tls.NoClientCert, nil
	return cfg, nil
}
